"""Stored teacher distributions: the top-k log-probabilities of each token to be learnt, and the mass of all others.

A folder of safetensors shards. A shard holds, for M tokens of R rows, ``ids`` (int32, M x k), ``logprobs`` (float16,
M x k, natural logarithm, at temperature 1), ``tails`` (float32, M x temperatures) and ``ends`` (int64, R: where each
row ends). ``tails[:, j]`` is ``log(sum(exp(logprob / T_j)))`` over the tokens that are not among the top k, so that the
distribution softened by ``T_j`` is exact: the softened top k and that tail, divided by their sum.
Each row is kept under the sha256 of its token ids: distributions of other tokens are never used for it. The index holds
the sha256 of each shard (``checksums``) and of all else in the index (``checksum``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
from common.step import BadConfig, BadData, NoInput

from modelling.writing import writing

INDEX = "logits.json"
TOKENS_PER_SHARD = 1 << 18
#: How far above 0 a log-probability may come to lie by rounding.
_ROUNDING = 1e-2


@dataclass(frozen=True, slots=True)
class Distributions:
    """The teacher at the M tokens of a row: ``ids`` and ``logprobs`` (M x k), ``tails`` (M) for one temperature."""

    ids: Any
    logprobs: Any
    tails: Any


def digest(ids: Sequence[int]) -> str:
    """What a row's distributions are kept under: the sha256 of its token ids."""
    return sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()


class LogitWriter:
    """Writes a folder of shards: ``add`` each row, then ``close``. The index is written last."""

    def __init__(self, folder: str | Path, **about: Any) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._about = about
        self._rows: list[tuple[str, str, Distributions]] = []
        self._tokens = 0
        self._index: dict[str, list[Any]] = {}
        self._shards: list[str] = []
        self._checksums: list[str] = []

    def add(self, row_id: str, ids: Sequence[int], distributions: Distributions) -> None:
        """Keep one row: its token ids and the distributions at those of them that are learnt."""
        self._rows.append((row_id, digest(ids), distributions))
        self._tokens += len(distributions.ids)
        if self._tokens >= TOKENS_PER_SHARD:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the index."""
        self._flush()
        index = {**self._about, "shards": self._shards, "checksums": self._checksums, "rows": self._index}
        index["checksum"] = _checksum(index)
        with writing("the stored logits"):
            (self._folder / INDEX).write_text(json.dumps(index, allow_nan=False), encoding="utf-8")

    def _flush(self) -> None:
        if not self._rows:
            return
        from safetensors.numpy import save_file

        name = f"logits-{len(self._shards):05d}.safetensors"
        ends = np.cumsum([len(distributions.ids) for _, _, distributions in self._rows]).astype(np.int64)
        tensors = {
            "ids": np.concatenate([distributions.ids for _, _, distributions in self._rows]).astype(np.int32),
            "logprobs": np.concatenate([distributions.logprobs for _, _, distributions in self._rows]).astype(
                np.float16
            ),
            "tails": np.concatenate([distributions.tails for _, _, distributions in self._rows]).astype(np.float32),
            "ends": ends,
        }
        with writing("the stored logits"):
            save_file(tensors, self._folder / name)
        for (row_id, key, distributions), end in zip(self._rows, ends, strict=True):
            self._index[row_id] = [len(self._shards), int(end) - len(distributions.ids), int(end), key]
        self._shards.append(name)
        self._checksums.append(_file_digest(self._folder / name))
        self._rows, self._tokens = [], 0


class LogitStore:
    """Reads a folder of shards for one temperature. Raises NoInput, BadConfig, BadData.

    A shard is checked when it is opened, once: its sha256, where the index has one (stores of earlier versions have
    none), and in any case that its numbers can be those of a distribution.
    """

    def __init__(self, folder: str | Path, temperature: float) -> None:
        self._folder = Path(folder)
        try:
            self.index: dict[str, Any] = json.loads(
                (self._folder / INDEX).read_text(encoding="utf-8"), parse_constant=_refuse
            )
            self._rows: dict[str, list[Any]] = self.index["rows"]
            self._shards = [str(name) for name in self.index["shards"]]
            self._checksums = [str(text) for text in self.index.get("checksums", [])]
            self.vocabulary = int(self.index["vocabulary"])
            temperatures = [float(t) for t in self.index["temperatures"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise NoInput(f"'{folder}' holds no stored logits of a teacher ({INDEX}: {error})") from None
        # Either of the two is enough to expect both: what is gone was damaged.
        self.has_checksums = "checksum" in self.index or bool(self._checksums)
        self._check_index()
        if temperature not in temperatures:
            stored = ", ".join(f"{t:g}" for t in temperatures)
            raise BadConfig(
                f"the stored logits hold the tails for the temperatures {stored}, not for {temperature:g}: "
                f"run teacher_logits with distillation_temperature {temperature:g}"
            )
        self._temperatures = len(temperatures)
        self._column = temperatures.index(temperature)
        self._open: dict[int, Any] = {}

    def get(self, row_id: str, ids: Sequence[int]) -> Distributions:
        """The distributions of a row. Raises BadData where there are none, or they belong to other tokens."""
        place = self._rows.get(row_id)
        if place is None:
            raise BadData(f"row {row_id} has no stored logits: run teacher_logits on the rows that are trained on")
        if not self._is_place(place):
            raise _damaged(INDEX, f"what it says of row {row_id} is no place in a shard")
        shard, start, end, key = place
        if key != digest(ids):
            raise BadData(
                f"the stored logits of row {row_id} belong to other tokens: its text, the tokenizer or the chat "
                "template has changed since teacher_logits ran"
            )
        tensors = self._shard(shard)
        if end > tensors.get_slice("ids").get_shape()[0]:
            raise _damaged(self._shards[shard], f"row {row_id} lies behind its end")
        ids, logprobs, tails = (tensors.get_slice(name)[start:end] for name in ("ids", "logprobs", "tails"))
        return Distributions(ids, logprobs, tails[:, self._column])

    def _is_place(self, entry: Any) -> bool:
        if not isinstance(entry, list) or len(entry) != 4 or not all(type(number) is int for number in entry[:3]):
            return False
        shard, start, end, _ = entry
        return 0 <= shard < len(self._shards) and 0 <= start <= end

    def _check_index(self) -> None:
        if not isinstance(self._rows, dict) or any(Path(name).name != name for name in self._shards):
            raise _damaged(INDEX, "its rows or shards are not as teacher_logits writes them")
        if self.has_checksums and (
            self.index.get("checksum") != _checksum(self.index) or len(self._checksums) != len(self._shards)
        ):
            raise _damaged(INDEX, "its checksum is not that of what it holds")

    def _shard(self, number: int) -> Any:
        if number not in self._open:
            self._open[number] = self._opened(self._shards[number], number)
        return self._open[number]

    def _opened(self, name: str, number: int) -> Any:
        from safetensors import SafetensorError, safe_open

        path = self._folder / name
        try:
            if self.has_checksums and _file_digest(path) != self._checksums[number]:
                raise _damaged(name, f"its sha256 is not the one in {INDEX}")
            # Mapped, not read: rows come in the order of training, and a store may be larger than the memory.
            tensors = safe_open(path, framework="numpy")
            problem = _problem(tensors, self.vocabulary, self._temperatures)
        except OSError as error:
            raise NoInput(f"cannot open {path}: {error.strerror or error}") from None
        except (SafetensorError, ValueError) as error:
            raise _damaged(name, str(error)) from None
        if problem:
            raise _damaged(name, problem)
        return tensors


def _problem(tensors: Any, vocabulary: int, temperatures: int) -> str:
    """What in a shard cannot be a teacher's distributions; an empty text where all of it can."""
    ids, logprobs, tails = (tensors.get_tensor(name) for name in ("ids", "logprobs", "tails"))
    if ids.ndim != 2 or logprobs.shape != ids.shape or tails.shape != (len(ids), temperatures):
        return "its tensors do not fit together"
    if ids.size and not (ids.min() >= 0 and ids.max() < vocabulary):
        return f"it holds ids of tokens that are not among the {vocabulary} of the vocabulary"
    # Written so that NaN fails as well. A log-probability of -inf is one: of a token that the teacher rules out.
    if logprobs.size and not logprobs.max() <= _ROUNDING:
        return "it holds log-probabilities that are none (NaN, or above 0)"
    if tails.size and not tails.max() < np.inf:
        return "it holds tails that are NaN or infinite"
    return ""


def _damaged(name: str, why: str) -> BadData:
    return BadData(f"the stored logits are damaged: {name}: {why}; run teacher_logits again")


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _checksum(index: dict[str, Any]) -> str:
    """The sha256 of all else that an index holds."""
    content = {key: value for key, value in index.items() if key != "checksum"}
    return sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
