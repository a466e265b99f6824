"""Asking a teacher over HTTP until it has answered, without asking anything twice.

    429 529 503          the server has too much to do: fewer in flight; everybody waits as long as it asks
    408 409 425 5xx      ask again after a backoff
    network, cut, malformed body, timeout          likewise
    400 404 405 413 415 422                        this row cannot be answered (RowFailed)
    401 403, a used-up quota                       nobody will be answered (Refused)
    refused from the start                         Unavailable, after a few tries

Only a complete, valid body counts; it is in the store before anybody sees it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from answer_store import SHARD_SECONDS, AnswerStore, answer_key
from chat_api import Answer, ChatApi, Malformed, error_text, is_content_filter
from common.secrets import redact
from common.step import BadConfig, Refused, TryAgain, Unavailable, say
from retry_wait import asked_wait, backoff
from throttle import Throttle

#: Attempts to open the first connection of all, and seconds before each further one.
FIRST_WAITS = (0.2, 0.5, 1.0)
CONNECT_SECONDS = 15.0
#: A token is used for so many seconds; azure-identity gives out none that has less than five minutes left.
TOKEN_SECONDS = 240.0
#: A server that asks to wait longer than this many seconds is left alone; the answers so far are kept.
LONGEST_WAIT = 900.0
#: So many rows in a row given up after all retries: the service is down, and the rest would fare no better.
GIVEN_UP_IN_A_ROW = 10
#: So many rows refused (400, 404, ...) before the first answer: it is not the rows.
REFUSED_IN_A_ROW = {404: 3}
_REFUSED_ANY = 20
_BUSY = (429, 503, 529)
_AGAIN = (408, 409, 425)


class RowFailed(Exception):
    """This row gets no answer. ``reason`` is a fixed word, ``detail`` what the server said."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = redact(detail)


class _Again(Exception):
    """An attempt that failed and may succeed later. ``wait``: seconds the server asks for.

    ``busy``: the server has too much to do. ``limited``: it said so of all requests, and not of this one.
    """

    def __init__(self, reason: str, detail: str, *, busy: bool = False, wait: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.busy = busy
        self.wait = wait
        self.limited = reason in ("http_429", "http_529") or (busy and wait is not None)


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
    ) -> None:
        self.api = api
        self.store = store
        self.counts = Counts()
        self.throttle = Throttle(concurrency)
        self._max_retries = max_retries
        self._timeout = timeout
        self._resolve_key = resolve_key
        self._session: aiohttp.ClientSession | None = None
        self._key: tuple[str, bool] | None = None
        self._resolved_at = float("-inf")
        self._asking: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._connected = False
        self._given_up = 0
        self._refused = 0

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
            body, latency = await self._until_answered(messages)
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

    async def _until_answered(self, messages: list[dict[str, str]]) -> tuple[dict[str, Any], float]:
        tries, seen = 0, self.counts.answered
        while True:
            try:
                async with self.throttle as started:
                    answered = await self._attempt(messages, started)
            except _Again as again:
                # Neither a parameter that was learnt about, nor waiting for a rate limit while others get through, is a
                # failure of this row. A request that always times out, or takes its server down, is.
                if again.reason != "adapted" and not (again.limited and self.counts.answered > seen):
                    tries += 1
                seen = self.counts.answered
                await self._wait(again, tries)
                self.counts.retries += 1
            else:
                self._given_up = self._refused = 0
                return answered

    async def _wait(self, again: _Again, tries: int) -> None:
        """Wait before the next try. Raises RowFailed when there is none left."""
        if again.reason == "connect" and not self._connected:
            if tries > len(FIRST_WAITS):
                raise Unavailable(f"cannot reach the teacher at {self.api.url}: {again.detail}")
            await asyncio.sleep(FIRST_WAITS[tries - 1])
            return
        if tries > self._max_retries:
            self._given_up += 1
            if self._given_up >= GIVEN_UP_IN_A_ROW:
                raise Unavailable(
                    f"the teacher at {self.api.url} failed {self._given_up} rows one after another, "
                    f"each {tries} times; the last: {again.detail}"
                )
            raise RowFailed(again.reason, f"{again.detail} (after {tries} attempts)")
        if again.wait is None or (again.busy and again.wait <= 0):
            # Some services send "Retry-After: 0", which would use up all tries at once.
            await asyncio.sleep(backoff(tries))
        elif again.wait > LONGEST_WAIT:
            raise TryAgain(
                f"the teacher asks to come back in {again.wait / 60:.0f} minutes ({again.detail}); "
                "the answers so far are kept, the next run goes on from there"
            )
        else:
            if again.wait > SHARD_SECONDS:
                # Mounted storage keeps what is closed; nobody would close it meanwhile.
                self.store.close()
            self.throttle.pause(again.wait)

    async def _attempt(self, messages: list[dict[str, str]], started: float) -> tuple[dict[str, Any], float]:
        """One request. Returns body and seconds. Raises _Again, RowFailed or a StepError."""
        before = time.perf_counter()
        sent = self.api.body(messages)
        try:
            status, headers, raw = await self._send(sent)
        except _Again as again:
            if again.busy:
                self.throttle.congested(started)
            raise
        latency = time.perf_counter() - before
        if status == 200:
            body = self._checked(raw)
            self.throttle.succeeded()
            self.counts.answered += 1
            return body, latency
        if status in _BUSY:
            self.throttle.congested(started)
        self._judge(status, headers, raw, sent)
        raise AssertionError("unreachable")

    async def _send(self, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        session = self._open()
        self.counts.requests += 1
        try:
            async with session.post(
                self.api.url, json=body, headers=self._headers(), allow_redirects=False
            ) as response:
                self._connected = True
                return response.status, dict(response.headers), await response.read()
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unavailable(f"the certificate of {self.api.url} is not trusted: {error.certificate_error}") from None
        except aiohttp.ClientConnectorError as error:
            raise _Again("connect", str(error.os_error) or type(error).__name__) from None
        except aiohttp.ConnectionTimeoutError:
            raise _Again("connect", f"no connection within {CONNECT_SECONDS:g} seconds") from None
        except TimeoutError:
            raise _Again("timeout", f"no answer within {self._timeout:g} seconds", busy=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Again("network", f"the connection broke ({type(error).__name__})") from None

    def _checked(self, raw: bytes) -> dict[str, Any]:
        """The body when it is complete and valid. Raises _Again."""
        try:
            body: dict[str, Any] = json.loads(raw)
            answer = self.api.read(body)
        except (ValueError, RecursionError) as error:
            raise _Again("malformed", f"the body is not JSON ({error})") from None
        except Malformed as error:
            raise _Again("malformed", str(error)) from None
        self.counts.prompt_tokens += answer.usage["prompt_tokens"]
        self.counts.completion_tokens += answer.usage["completion_tokens"]
        return body

    def _judge(self, status: int, headers: dict[str, str], raw: bytes, sent: dict[str, Any]) -> None:
        """Raise what an answer other than 200 means."""
        body = _loads(raw)
        said = f"{status} {error_text(body)}".strip()
        if status in (401, 403):
            raise Refused(f"the teacher at {self.api.url} refuses the credentials: {redact(said)}")
        if 300 <= status < 400:
            raise BadConfig(f"{self.api.url} sends requests on to {headers.get('Location')}; give that address")
        if status == 429 and "insufficient_quota" in raw.decode("utf-8", "replace"):
            raise Refused(f"the quota of the teacher's key is used up: {redact(said)}")
        if status in _BUSY:
            raise _Again(f"http_{status}", said, busy=True, wait=asked_wait(headers))
        if status in _AGAIN or status >= 500 or status < 300:
            raise _Again(f"http_{status}", said)
        if status == 400 and is_content_filter(body):
            raise RowFailed("content_filter", said)
        known = set(self.api.unsupported)
        if status == 400 and (name := self.api.adapt(error_text(body), sent)):
            if name not in known:
                instead = "max_completion_tokens is sent" if name == "max_tokens" else "the model's own default holds"
                say(f"warning: the teacher does not support '{name}': {instead}")
            raise _Again("adapted", said, wait=0.0)
        self._refuse(status, said)

    def _refuse(self, status: int, said: str) -> None:
        self._refused += 1
        if not self.counts.answered and self._refused >= REFUSED_IN_A_ROW.get(status, _REFUSED_ANY):
            raise BadConfig(
                f"the teacher at {self.api.url} refuses every request for '{self.api.model}': {redact(said)}"
            )
        raise RowFailed(f"http_{status}", said)

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
        now = time.monotonic()
        first = self._resolved_at == float("-inf")
        if first or (self._key and self._key[1] and now - self._resolved_at > TOKEN_SECONDS):
            self._key, self._resolved_at = self._resolve_key(), now
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
