"""Asking a teacher over HTTP until it has answered, without asking anything twice.

    429 529 503          the server has too much to do: ask again when it says, or after a backoff
    408 409 425 5xx      ask again after a backoff
    network, cut, malformed body, page, timeout    likewise
    400 405 413 415 422                            this row cannot be answered (RowFailed)
    401 402 403 404 410, a used-up quota           ask again; nobody will be answered where it stays so (stop_rules)
    no connection from the start                   Unavailable, after a few tries

Who waits holds no place in flight. A 429 is never held against its row: it waits until it is answered, or until nobody
was answered for ``max_wait`` seconds (TryAgain).

Only a complete, valid body counts; it is in the store before anybody sees it. One that holds the key, as pages that
echo headers do, is never kept: the store has the reason ``secret`` in its place, and the row is rejected.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from answer_store import AnswerStore, answer_key
from chat_api import Answer, ChatApi, Malformed, error_text, is_about_row, is_content_filter
from common.secrets import holds_secret, redact
from common.step import BadConfig, StepError, Unavailable, say
from retry_wait import asked_wait, nothing_left
from retrying import Again, Retrying, RowFailed
from stop_rules import PAGE, StopRules, kind_of, page_of
from throttle import Place, Throttle

CONNECT_SECONDS = 15.0
#: A token is used for so many seconds; azure-identity gives out none that has less than five minutes left.
TOKEN_SECONDS = 240.0
SECRET = "secret"
_BUSY = (429, 503, 529)
_AGAIN = (408, 409, 425)


@dataclass
class Counts:
    """What it took. ``requests`` were sent, ``retries`` of them again; ``reused`` answers came from the store."""

    requests: int = 0
    retries: int = 0
    answered: int = 0
    reused: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Asked:
    """An answer, and the seconds it took when it was asked for."""

    answer: Answer
    latency: float
    reused: bool


class TeacherClient:
    """``async with TeacherClient(...) as teacher: await teacher.ask(messages)``."""

    def __init__(
        self,
        api: ChatApi,
        store: AnswerStore,
        *,
        concurrency: int,
        max_retries: int,
        timeout: float,
        resolve_key: Callable[[], tuple[str, bool] | None],
        max_wait: float = 900.0,
    ) -> None:
        self.api = api
        self.store = store
        self.counts = Counts()
        self.throttle = Throttle(concurrency)
        self._timeout = timeout
        self._retrying = Retrying(api.url, self.throttle, store, max_retries, max_wait)
        self._rules = StopRules(api.url, api.model)
        self._resolve_key = resolve_key
        self._session: aiohttp.ClientSession | None = None
        self._key: tuple[str, bool] | None = None
        self._resolved_at = float("-inf")
        self._told_of_key_in_store = False
        self._asking: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> TeacherClient:
        return self

    async def __aexit__(self, *details: object) -> None:
        if self._session is not None:
            await self._session.close()
        self.store.close()

    async def ask(self, messages: list[dict[str, str]], sample: int = 0) -> Asked:
        """The teacher's answer, from the store where it is there. Raises RowFailed, or a StepError that ends it all."""
        key = answer_key(self.api.api, self.api.model, messages, self.api.parameters, sample)
        record = self.store.get(key)
        if record is not None:
            self.counts.reused += 1
        elif key in self._asking:
            self.counts.shared += 1
            record = await asyncio.shield(self._asking[key])
        else:
            record = await self._ask_once(key, messages)
            return self._asked(record, reused=False)
        return self._asked(record, reused=True)

    def _asked(self, record: dict[str, Any], reused: bool) -> Asked:
        if reused and holds_secret(record.get("body")):
            # An earlier version kept it, or this key was not known then.
            if not self._told_of_key_in_store:
                self._told_of_key_in_store = True
                say(
                    f"warning: an answer that an earlier run kept in {self.store.folder} holds the teacher's key; "
                    "it is not used, and stays there: renew the key, or delete the folder"
                )
            record = self.store.put_rejected(record["key"], SECRET, record["latency"])
        if reason := record.get("rejected"):
            raise RowFailed(reason, "the teacher's answer holds its key, in some spelling; nothing of it was kept")
        try:
            answer = self.api.read(record["body"])
        except Malformed as error:
            raise RowFailed("malformed", f"the stored answer: {error}") from None
        return Asked(answer, float(record["latency"]), reused)

    async def _ask_once(self, key: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Ask, and let whoever has the same question wait for this answer."""
        shared: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asking[key] = shared
        try:
            body, latency = await self._until_answered(key, messages)
            if holds_secret(body):
                record = self.store.put_rejected(key, SECRET, latency)
            else:
                record = self.store.put(key, body, latency)
        except BaseException as error:
            shared.set_exception(error if isinstance(error, Exception) else RowFailed("stopped", "the run was stopped"))
            shared.exception()  # nobody else may have waited
            raise
        else:
            shared.set_result(record)
            return record
        finally:
            del self._asking[key]

    async def _until_answered(self, key: str, messages: list[dict[str, str]]) -> tuple[dict[str, Any], float]:
        tries = self._retrying.begin()
        while True:
            try:
                async with self.throttle.place(is_retry=tries.any) as place:
                    return await self._numbered(key, messages, place)
            except Again as again:
                await self._retrying.wait(again, tries)
                self.counts.retries += 1

    def unsettled(self) -> StepError | None:
        """When all rows are through: what the service refused the last of them for, though not because of them."""
        return self._rules.left_open() or self._retrying.unsettled()

    async def _numbered(self, key: str, messages: list[dict[str, str]], place: Place) -> tuple[dict[str, Any], float]:
        """One request, its outcome told to the rules. Raises Again, RowFailed or a StepError."""
        number = self._rules.sent()
        try:
            answered = await self._attempt(number, key, messages, place)
            self._rules.answered(number)
            return answered
        finally:
            self.throttle.pause(self._rules.in_doubt)
            self._rules.ended(number)

    async def _attempt(
        self, number: int, key: str, messages: list[dict[str, str]], place: Place
    ) -> tuple[dict[str, Any], float]:
        before = time.perf_counter()
        sent = self.api.body(messages)
        try:
            status, headers, raw = await self._send(sent)
        except Again:
            # No answer in time, or a connection that broke: the server may have too much to do, too.
            place.refused()
            raise
        latency = time.perf_counter() - before
        if status == 200:
            body = self._checked(number, key, headers, raw)
            place.answered()
            self.counts.answered += 1
            self._retrying.answered()
            return body, latency
        if status >= 500 or (status == 429 and kind_of(status, raw) is None):
            place.refused()
            if (seconds := nothing_left(headers)) is not None:
                self.throttle.hold(seconds)
        self._judge(number, key, status, headers, raw, sent)
        raise AssertionError("unreachable")

    async def _send(self, body: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        session = self._open()
        self.counts.requests += 1
        try:
            async with session.post(
                self.api.url, json=body, headers=self._headers(), allow_redirects=False
            ) as response:
                self._retrying.connected = True
                return response.status, response.headers, await response.read()
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unavailable(f"the certificate of {self.api.url} is not trusted: {error.certificate_error}") from None
        except aiohttp.ClientConnectorError as error:
            raise Again("connect", str(error.os_error) or type(error).__name__) from None
        except aiohttp.ConnectionTimeoutError:
            raise Again("connect", f"no connection within {CONNECT_SECONDS:g} seconds") from None
        except TimeoutError:
            raise Again("timeout", f"no answer within {self._timeout:g} seconds") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Again("network", f"the connection broke ({type(error).__name__})") from None

    def _checked(self, number: int, key: str, headers: Mapping[str, str], raw: bytes) -> dict[str, Any]:
        """The body when it is complete and valid. Raises Again."""
        if page := page_of(headers.get("Content-Type", ""), raw):
            self._rules.refused(number, key, PAGE, redact(page))
            raise Again("malformed", f'a web page instead of an answer ("{page}")')
        try:
            body: dict[str, Any] = json.loads(raw)
            answer = self.api.read(body)
        except (ValueError, RecursionError) as error:
            raise Again("malformed", f"the body is not JSON ({error})") from None
        except Malformed as error:
            raise Again("malformed", str(error)) from None
        self.counts.prompt_tokens += answer.usage["prompt_tokens"]
        self.counts.completion_tokens += answer.usage["completion_tokens"]
        return body

    def _judge(
        self, number: int, key: str, status: int, headers: Mapping[str, str], raw: bytes, sent: dict[str, Any]
    ) -> None:
        """Raise what an answer other than 200 means."""
        body = _loads(raw)
        reason = redact(f"{status} {error_text(body)}".strip())
        if 300 <= status < 400:
            raise BadConfig(f"{self.api.url} sends requests on to {headers.get('Location')}; give that address")
        if status in (400, 403) and is_content_filter(body):
            raise RowFailed("content_filter", reason)
        if kind := kind_of(status, raw):
            if status == 401:
                self._resolved_at = float("-inf")
            self._rules.refused(number, key, kind, reason)
            raise Again(f"http_{status}", reason, denied=True)
        if status in _BUSY:
            raise Again(f"http_{status}", reason, wait=asked_wait(headers))
        if status in _AGAIN or status >= 500 or status < 300:
            raise Again(f"http_{status}", reason)
        unsupported = set(self.api.unsupported)
        if status == 400 and (name := self.api.adapt(error_text(body), sent)):
            if name not in unsupported:
                instead = "max_completion_tokens is sent" if name == "max_tokens" else "the model's own default holds"
                say(f"warning: the teacher does not support '{name}': {instead}")
            raise Again("adapted", reason, wait=0.0)
        if not is_about_row(status, body):
            # Numbers of requests and places in texts are no difference.
            self._rules.refused(number, key, re.sub(r"[0-9a-fA-F-]{8,}|\d+", "#", reason), reason)
        raise RowFailed(f"http_{status}", reason)

    def _open(self) -> aiohttp.ClientSession:
        """The session, made when the first question has to be asked: a run from the store needs no key."""
        if self._session is None:
            self._headers()
            parts = urlsplit(self.api.url)
            local = _is_loopback(parts.hostname or "")
            if self._key and parts.scheme == "http" and not local:
                say(f"warning: the key is sent to {parts.hostname} unencrypted (http)")
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(CONNECT_SECONDS, self._timeout)),
                connector=aiohttp.TCPConnector(
                    limit=0, ttl_dns_cache=300, ssl=_trust() if parts.scheme == "https" else True
                ),
                # A proxy is for the world outside; asking it for this machine would reach another one.
                trust_env=not local,
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        """The headers of a request. A token of Entra ID is asked for anew before it can have run out."""
        moment = time.monotonic()
        first = self._resolved_at == float("-inf")
        if first or (self._key and self._key[1] and moment - self._resolved_at > TOKEN_SECONDS):
            self._key, self._resolved_at = self._resolve_key(), moment
        return self.api.headers(*(self._key or (None, False)))


def _trust() -> ssl.SSLContext:
    """The system's certificates, and those of REQUESTS_CA_BUNDLE, which Azure's libraries use."""
    context = ssl.create_default_context()
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        context.load_verify_locations(bundle)
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _loads(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
