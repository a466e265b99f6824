"""Whether the numbers of a model are finite: its weights in memory, and the weights that were written to a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.step import NotFinite


def first_not_finite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity; None where all are finite."""
    import torch

    for name, tensor in tensors:
        # Of a tensor that is spread over several processes each looks at its own part.
        part = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        if not part.is_floating_point() or part.element_size() < 2 or not part.numel():
            continue
        # The two ends are finite where all between them is, and a NaN is both ends. Needs no copy of the tensor.
        if not all(torch.isfinite(end) for end in torch.aminmax(part.detach())):
            return name
    return None


def check_weights(model: Any, what: str) -> None:
    """Raises NotFinite where a weight of ``model`` is not finite."""
    name = first_not_finite(model.named_parameters())
    if name:
        raise NotFinite(f"the weights of {what} are not all finite numbers, the first such tensor is {name}")


def check_saved(folder: str | Path, what: str) -> None:
    """Read back the weights in ``folder``. Raises NotFinite where they are not finite, or not all there."""
    from safetensors import SafetensorError, safe_open

    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise NotFinite(f"{what} was not saved: {folder} holds no weights")
    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                name = first_not_finite((name, stored.get_tensor(name)) for name in stored.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise NotFinite(f"{what} was not saved: {file.name} cannot be read back ({error})") from None
        if name:
            raise NotFinite(f"{what} was saved with numbers that are not finite, the first in {name} of {file.name}")
