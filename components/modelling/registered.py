"""Models in MLflow's layout, as model registries hand them out: the weights in one folder, the tokenizer in another.

``MLmodel``, which may lie a folder further down, has beside it ``model/`` or ``data/model/`` (config.json and weights),
and ``components/tokenizer/``, ``tokenizer/`` or ``data/tokenizer/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: A tokenizer has one of these, whatever its kind.
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
#: How far below the folder that is given MLmodel is looked for, and how far below that the parts are.
_DEEPEST = 3


def weights_in(folder: Path) -> Path | None:
    """The folder of the weights in a model that MLflow laid out; None where ``folder`` is no such model."""
    if (folder / "config.json").is_file():
        return None
    root = _root(folder)
    if root is None:
        return None
    folders = [place for place in _folders(root) if (place / "config.json").is_file()]
    with_weights = [place for place in folders if any(place.glob("*.safetensors"))]
    return next(iter(with_weights or folders), None)


def tokenizer_for(weights: Path) -> Path | None:
    """The tokenizer's folder where it is not beside the ``weights`` but elsewhere in MLflow's layout."""
    if not weights.is_dir() or _is_tokenizer(weights):
        return None
    for around in list(weights.parents)[:_DEEPEST]:
        if (around / "MLmodel").is_file():
            return next((place for place in _folders(around) if _is_tokenizer(place)), None)
    return None


def _root(folder: Path) -> Path | None:
    return next((place for place in _folders(folder) if (place / "MLmodel").is_file()), None)


def _is_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER)


def _folders(root: Path) -> Iterator[Path]:
    """``root`` and the folders in it, the shallow ones first, in the order of their names."""
    level = [root]
    for _ in range(_DEEPEST + 1):
        yield from level
        level = [child for place in level for child in sorted(place.iterdir()) if child.is_dir()]
