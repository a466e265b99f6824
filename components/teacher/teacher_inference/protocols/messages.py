"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from protocols import Answer, Protocol

_STOP_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content_filter"}


class Messages(Protocol):
    path = "/messages"
    azure_base = "/anthropic/v1"
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
    key_header = "x-api-key"
    stop = "stop_sequences"

    def body(self, model: str, messages: list[dict[str, str]], sampling: dict[str, Any]) -> dict[str, Any]:
        system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
        turns = [turn for turn in messages if turn["role"] != "system"]
        return {"model": model, **({"system": system} if system else {}), "messages": turns, **sampling}

    def read(self, body: dict[str, Any], model: str) -> Answer:
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
            model=str(body.get("model") or model),
        )


PROTOCOL = Messages()
