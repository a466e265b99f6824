"""OpenAI's chat completions, which Azure AI Foundry, Azure OpenAI, serverless and managed online endpoints, vLLM and
``transformers serve`` speak too.
"""

from __future__ import annotations

from typing import Any

from protocols import Answer, Protocol


class ChatCompletions(Protocol):
    path = "/chat/completions"
    azure_base = "/openai/v1"

    def body(self, model: str, messages: list[dict[str, str]], sampling: dict[str, Any]) -> dict[str, Any]:
        return {"model": model, "messages": messages, **sampling}

    def read(self, body: dict[str, Any], model: str) -> Answer:
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
            model=str(body.get("model") or model),
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
            thoughts += [piece["text"] for piece in thought] if isinstance(thought, list) else [thought]
        elif kind == "refusal":
            refusal = refusal or part.get("refusal") or True
        else:
            raise TypeError(f"the content has a part of type '{kind}'")
    return "".join(text), "".join(thoughts), refusal


PROTOCOL = ChatCompletions()
