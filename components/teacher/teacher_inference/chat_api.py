"""The two chat APIs: where to send a request, how it looks, and what an answer says.

``chat_completions`` is OpenAI's, which Azure AI Foundry, Azure OpenAI, serverless and managed online endpoints, vLLM
and ``transformers serve`` speak too. ``messages`` is Anthropic's.

Where the key goes is decided by the host: Azure OpenAI and Foundry hosts get the header ``api-key``, Anthropic's
API ``x-api-key``, all others ``Authorization: Bearer``; a token of Entra ID is always a bearer token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from common.step import BadConfig

_AZURE_KEY_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us")
ANTHROPIC_VERSION = "2023-06-01"
_PATHS = {"chat_completions": "/chat/completions", "messages": "/messages"}
_STOP_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content_filter"}


class Malformed(Exception):
    """A body that is no answer: cut short, no JSON, or without what an answer must have."""


@dataclass(frozen=True)
class Answer:
    """What a teacher said. ``finish_reason`` in OpenAI's words (stop, length, content_filter, ...)."""

    text: str
    reasoning: str
    finish_reason: str
    usage: dict[str, int]
    model: str


@dataclass
class ChatApi:
    """One endpoint's dialect. ``unsupported`` collects parameters that the model turned out to refuse."""

    api: str
    endpoint: str
    model: str
    parameters: dict[str, Any]
    unsupported: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.url = address(self.endpoint, self.api)

    def headers(self, key: str | None, is_token: bool = False) -> dict[str, str]:
        """The headers of a request; ``key`` is the value of the secret."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.api == "messages":
            headers["anthropic-version"] = ANTHROPIC_VERSION
        if key is None:
            return headers
        host = urlsplit(self.url).hostname or ""
        if is_token or not (host.endswith(_AZURE_KEY_HOSTS) or self.api == "messages"):
            return {**headers, "Authorization": f"Bearer {key}"}
        return {**headers, "x-api-key" if self.api == "messages" else "api-key": key}

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The body of a request."""
        sampling = self._sampling()
        if self.api == "chat_completions":
            return {"model": self.model, "messages": messages, **sampling}
        system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
        turns = [turn for turn in messages if turn["role"] != "system"]
        return {"model": self.model, **({"system": system} if system else {}), "messages": turns, **sampling}

    def _sampling(self) -> dict[str, Any]:
        given = self.parameters
        limit = "max_tokens" if "max_tokens" not in self.unsupported else "max_completion_tokens"
        sampling = {limit: given["max_tokens"], "temperature": given["temperature"]}
        # 1.0 is every service's default; some models refuse temperature and top_p together.
        if given["top_p"] != 1.0:
            sampling["top_p"] = given["top_p"]
        if given.get("stop"):
            sampling["stop" if self.api == "chat_completions" else "stop_sequences"] = given["stop"]
        return {name: value for name, value in sampling.items() if name not in self.unsupported}

    def adapt(self, message: str, sent: dict[str, Any]) -> str | None:
        """Learn from the text of a 400 that a parameter in the body ``sent`` is not supported. Returns it, or None.

        Reasoning models take ``max_completion_tokens`` in place of ``max_tokens`` and no temperature of their own.
        """
        text = message.lower()
        if not any(word in text for word in ("unsupported", "not support", "deprecated", "cannot both")):
            return None
        for name in ("max_tokens", "temperature", "top_p"):
            if name in sent and any(f"{mark}{name}{mark}" in text for mark in "'`\""):
                self.unsupported.add(name)
                return name
        return None

    def read(self, body: Any) -> Answer:
        """The answer in a body. Raises Malformed."""
        if not isinstance(body, dict):
            raise Malformed("the body is not a JSON object")
        if body.get("error"):
            raise Malformed(f"the body holds an error: {error_text(body)}")
        try:
            return self._read_completion(body) if self.api == "chat_completions" else self._read_message(body)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise Malformed(f"the body lacks what an answer has ({type(error).__name__}: {error})") from None

    def _read_completion(self, body: dict[str, Any]) -> Answer:
        choice = body["choices"][0]
        message = choice["message"]
        content, thoughts = message.get("content"), ""
        refusal = message.get("refusal")
        if isinstance(content, list):
            content, thoughts, refusal = _parts(content, refusal)
        if content is not None and not isinstance(content, str):
            raise TypeError("the content is not text")
        refused = "content_filter" if refusal else ""
        usage = body.get("usage") or {}
        return Answer(
            text=content or "",
            reasoning=str(message.get("reasoning_content") or message.get("reasoning") or thoughts),
            finish_reason=refused or str(choice.get("finish_reason") or "stop"),
            usage={name: int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")},
            model=str(body.get("model") or self.model),
        )

    def _read_message(self, body: dict[str, Any]) -> Answer:
        blocks, usage = body["content"], body.get("usage") or {}
        reason = str(body["stop_reason"])
        return Answer(
            text="".join(block["text"] for block in blocks if block["type"] == "text"),
            reasoning="".join(block.get("thinking", "") for block in blocks if block["type"] == "thinking"),
            finish_reason=_STOP_REASONS.get(reason, reason),
            usage={
                "prompt_tokens": int(usage.get("input_tokens") or 0),
                "completion_tokens": int(usage.get("output_tokens") or 0),
            },
            model=str(body.get("model") or self.model),
        )


def _parts(content: list[Any], refusal: Any) -> tuple[str, str, Any]:
    """Text, thoughts and refusal of a content in parts. TypeError at a part that is none of these: it would be lost."""
    text, thoughts = [], []
    for part in content:
        kind = part.get("type", "text")
        if kind in ("text", "output_text"):
            text.append(part["text"])
        elif kind in ("thinking", "reasoning"):
            thought = part.get("thinking") or part.get("text") or ""
            thoughts += [inner["text"] for inner in thought] if isinstance(thought, list) else [thought]
        elif kind == "refusal":
            refusal = refusal or part.get("refusal") or True
        else:
            raise TypeError(f"the content has a part of type '{kind}'")
    return "".join(text), "".join(thoughts), refusal


def address(endpoint: str, api: str) -> str:
    """The URL that requests go to, from a base address, one ending in ``/v1``, or the full one. Keeps the query."""
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadConfig(f"teacher_endpoint '{endpoint}' is not an address (http://... or https://...)")
    if parts.username or parts.password:
        raise BadConfig("teacher_endpoint holds credentials; give the key by reference in teacher_key")
    path = parts.path.rstrip("/")
    end = _PATHS[api]
    if not path.endswith((end, "/score")):
        path = (path or _base_path(parts.hostname, api)) + end
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _base_path(host: str, api: str) -> str:
    if host.endswith(_AZURE_KEY_HOSTS):
        return "/openai/v1" if api == "chat_completions" else "/anthropic/v1"
    return "/v1"


def error_text(body: Any) -> str:
    """What an error body says, in one line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return " ".join(str(error).split())[:300]


#: What a refusal says that is about its row: the words of Azure's, OpenAI's, Anthropic's, Google's and vLLM's servers.
_FILTERED = re.compile(
    r"content management policy|filtered due to the prompt|content[_ ]filter|content[_ ]policy|responsible ?ai"
    r"|flagged as (potentially )?violating|violat\w+ (of )?(our|the) (usage|content)|safety (system|filter)|moderation",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[_ ]length|context[_ ]window|max(imum)?[_ ](input|prompt|context|model|sequence)[_ ]?(length|tokens?|len)"
    r"|too (long|large|many (input )?tokens)|reduce (the|your) (length|prompt|input|message)|string_above_max_length"
    r"|exceed\w*[^.]{0,60}\b(tokens?|length|characters)\b",
    re.IGNORECASE,
)
_CODES = {"content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation"}


def is_content_filter(body: Any) -> bool:
    """Whether a 400 says that a content filter refused the prompt: by Azure's codes, or in words."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        inner = error.get("innererror")
        codes = {str(error.get("code")), str(inner.get("code") if isinstance(inner, dict) else "")}
        if codes & _CODES:
            return True
    return bool(_FILTERED.search(error_text(body)))


def is_about_row(status: int, body: Any) -> bool:
    """Whether a refusal is about what its row holds: too long, or not to be read."""
    if status == 413:
        return True
    error = body.get("error") if isinstance(body, dict) else None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    if code in ("context_length_exceeded", "string_above_max_length", "invalid_prompt"):
        return True
    return bool(_TOO_LONG.search(error_text(body)))
