"""A teacher's endpoint: where a request goes and with which key, and what an answer or an error says.

How requests and answers look is the protocol's (``protocols/``). Where the key goes is decided by the host: Azure
OpenAI and Foundry hosts get the header ``api-key``, all others ``Authorization: Bearer``, unless the protocol has a
header of its own; a token of Entra ID is always a bearer token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from common.step import BadConfig
from protocols import Answer, Malformed, Protocol, get_protocol

_AZURE_KEY_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us")


@dataclass
class ChatApi:
    """One model at an endpoint. ``api`` names its protocol.

    ``unsupported`` collects parameters that the model turned out to refuse.
    """

    api: str
    endpoint: str
    model: str
    parameters: dict[str, Any]
    unsupported: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.protocol = get_protocol(self.api)
        self.api = self.protocol.name
        self.url = address(self.endpoint, self.protocol)

    def headers(self, key: str | None, is_token: bool = False) -> dict[str, str]:
        """The headers of a request; ``key`` is the value of the secret."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.protocol.headers}
        if key is None:
            return headers
        azure = (urlsplit(self.url).hostname or "").endswith(_AZURE_KEY_HOSTS)
        header = self.protocol.key_header or ("api-key" if azure else None)
        if is_token or header is None:
            return {**headers, "Authorization": f"Bearer {key}"}
        return {**headers, header: key}

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The body of a request."""
        return self.protocol.body(self.model, messages, self._sampling())

    def _sampling(self) -> dict[str, Any]:
        parameters = self.parameters
        limit = "max_tokens" if "max_tokens" not in self.unsupported else "max_completion_tokens"
        sampling = {limit: parameters["max_tokens"], "temperature": parameters["temperature"]}
        # 1.0 is every service's default; some models refuse temperature and top_p together.
        if parameters["top_p"] != 1.0:
            sampling["top_p"] = parameters["top_p"]
        if parameters.get("stop"):
            sampling[self.protocol.stop] = parameters["stop"]
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
            return self.protocol.read(body, self.model)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise Malformed(f"the body lacks what an answer has ({type(error).__name__}: {error})") from None


def address(endpoint: str, protocol: Protocol) -> str:
    """The URL that requests go to, from a base address, one ending in ``/v1``, or the full one. Keeps the query."""
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadConfig(f"teacher_endpoint '{endpoint}' is not an address (http://... or https://...)")
    if parts.username or parts.password:
        raise BadConfig("teacher_endpoint holds credentials; give the key by reference in teacher_key")
    path = parts.path.rstrip("/")
    if not path.endswith((protocol.path, "/score")):
        base = protocol.azure_base if parts.hostname.endswith(_AZURE_KEY_HOSTS) else protocol.base
        path = (path or base) + protocol.path
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


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
        cause = error.get("innererror")
        codes = {str(error.get("code")), str(cause.get("code") if isinstance(cause, dict) else "")}
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
