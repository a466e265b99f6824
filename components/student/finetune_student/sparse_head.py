"""The student's logits at the tokens to be learnt, without computing them anywhere else where that is possible.

Most of a prompt needs no logits, and the output layer is most of a small model's work: the body runs on all tokens, the
output layer on those that predict a token to be learnt. A model that does more between the two than one linear layer
(scaled or capped logits, wrappers for several devices) is run as a whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: What architectures call a factor or a cap on their logits.
_LOGIT_SETTINGS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)


class Head:
    """Logits of a model at chosen places. ``split`` says whether the output layer runs on those places only."""

    def __init__(self, model: Any, *, split: bool = True) -> None:
        self._model = model
        core = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body = getattr(core, getattr(core, "base_model_prefix", "") or "-", None)
        self._output = core.get_output_embeddings()
        self.split = split and self._can_split(core)

    def logits(self, model: Any, inputs: dict[str, Tensor], keep: Tensor) -> Tensor:
        """Logits (N x V) at the N places of ``keep`` (B x T, boolean), in the order of ``keep.nonzero()``."""
        if self.split and model is self._model:
            hidden = self._body(**inputs, use_cache=False).last_hidden_state
            return self._output(hidden[keep])
        return model(**inputs, use_cache=False).logits[keep]

    def _can_split(self, core: Any) -> bool:
        plain = type(self._output) is torch.nn.Linear and isinstance(self._body, torch.nn.Module)
        config = core.config.get_text_config()
        if not plain or any(getattr(config, name, None) not in (None, 1, 1.0) for name in _LOGIT_SETTINGS):
            return False
        return self._agrees(core)

    def _agrees(self, core: Any) -> bool:
        """Whether body and output layer give what the whole model gives, to the last bit, on a few tokens."""
        training = core.training
        core.eval()
        ids = torch.arange(8, device=self._output.weight.device).unsqueeze(0) % core.config.get_text_config().vocab_size
        try:
            with torch.no_grad():
                logits = core(input_ids=ids, use_cache=False).logits
                parts = self._output(self._body(input_ids=ids, use_cache=False).last_hidden_state)
            return torch.equal(logits, parts)
        except (TypeError, AttributeError, RuntimeError):
            return False
        finally:
            core.train(training)
