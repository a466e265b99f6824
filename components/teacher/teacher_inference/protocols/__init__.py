"""Teacher protocols: each file here is one, found by its name (``teacher.api`` of a recipe).

What a protocol is: where a request goes, what its body looks like, and how an answer is read. Its file holds an object
``PROTOCOL``. Retries, the throttle and the store of answers work with any protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from common import families


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


class Protocol(ABC):
    """The common part of all protocols. A protocol overrides what differs."""

    #: Where requests go, and what comes before it where an address names only a host: Azure's, or any other.
    path: ClassVar[str]
    azure_base: ClassVar[str]
    base: ClassVar[str] = "/v1"
    #: Headers of every request, and the one that holds the key; without it Azure's ``api-key``, or a bearer's.
    headers: ClassVar[Mapping[str, str]] = {}
    key_header: ClassVar[str | None] = None
    #: The name of the setting that ends an answer at a text.
    stop: ClassVar[str] = "stop"

    @property
    def name(self) -> str:
        """The name used in YAML: that of the protocol's file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def body(self, model: str, messages: list[dict[str, str]], sampling: dict[str, Any]) -> dict[str, Any]:
        """The body of a request. Settings in ``sampling`` have OpenAI's names, but for ``stop``."""

    @abstractmethod
    def read(self, body: dict[str, Any], model: str) -> Answer:
        """The answer in a body. Raises KeyError, IndexError, TypeError or ValueError where it lacks what one has."""


def get_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises BadConfig naming those there are."""
    protocol: Protocol = families.find(__name__, name, "protocol").PROTOCOL
    return protocol
