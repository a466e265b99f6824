"""Stored teacher distributions: the top-k log-probabilities of each token to be learnt, and the mass of all others.

A folder of safetensors shards. A shard holds, for M tokens of R rows, ``ids`` (int32, M x k), ``logprobs`` (float16,
M x k, natural logarithm, at temperature 1), ``tails`` (float32, M x temperatures) and ``ends`` (int64, R: where each
row ends). ``tails[:, j]`` is ``log(sum(exp(logprob / T_j)))`` over the tokens that are not among the top k, so that the
distribution softened by ``T_j`` is exact: the softened top k and that tail, divided by their sum.
Each row is kept under the sha256 of its token ids: distributions of other tokens are never used for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from common.step import BadConfig, BadData, NoInput

INDEX = "logits.json"
TOKENS_PER_SHARD = 1 << 18


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

    def add(self, row_id: str, ids: Sequence[int], found: Distributions) -> None:
        """Keep one row: its token ids and the distributions at those of them that are learnt."""
        self._rows.append((row_id, digest(ids), found))
        self._tokens += len(found.ids)
        if self._tokens >= TOKENS_PER_SHARD:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the index."""
        self._flush()
        index = {**self._about, "shards": self._shards, "rows": self._index}
        (self._folder / INDEX).write_text(json.dumps(index), encoding="utf-8")

    def _flush(self) -> None:
        if not self._rows:
            return
        from safetensors.numpy import save_file

        name = f"logits-{len(self._shards):05d}.safetensors"
        ends = np.cumsum([len(found.ids) for _, _, found in self._rows]).astype(np.int64)
        tensors = {
            "ids": np.concatenate([found.ids for _, _, found in self._rows]).astype(np.int32),
            "logprobs": np.concatenate([found.logprobs for _, _, found in self._rows]).astype(np.float16),
            "tails": np.concatenate([found.tails for _, _, found in self._rows]).astype(np.float32),
            "ends": ends,
        }
        save_file(tensors, self._folder / name)
        for (row_id, key, found), end in zip(self._rows, ends, strict=True):
            self._index[row_id] = [len(self._shards), int(end) - len(found.ids), int(end), key]
        self._shards.append(name)
        self._rows, self._tokens = [], 0


class LogitStore:
    """Reads a folder of shards for one temperature. Raises NoInput, BadConfig, BadData."""

    def __init__(self, folder: str | Path, temperature: float) -> None:
        self._folder = Path(folder)
        try:
            self.index = json.loads((self._folder / INDEX).read_text(encoding="utf-8"))
            self._rows: dict[str, list[Any]] = self.index["rows"]
            temperatures = [float(t) for t in self.index["temperatures"]]
        except (OSError, ValueError, KeyError) as error:
            raise NoInput(f"'{folder}' holds no stored logits of a teacher ({INDEX}: {error})") from None
        if temperature not in temperatures:
            known = ", ".join(f"{t:g}" for t in temperatures)
            raise BadConfig(
                f"the stored logits hold the tails for the temperatures {known}, not for {temperature:g}: "
                f"run teacher_logits with distillation_temperature {temperature:g}"
            )
        self._column = temperatures.index(temperature)
        self._open: dict[int, Any] = {}

    def get(self, row_id: str, ids: Sequence[int]) -> Distributions:
        """The distributions of a row. Raises BadData where there are none, or they belong to other tokens."""
        found = self._rows.get(row_id)
        if found is None:
            raise BadData(f"row {row_id} has no stored logits: run teacher_logits on the rows that are trained on")
        shard, start, end, key = found
        if key != digest(ids):
            raise BadData(
                f"the stored logits of row {row_id} belong to other tokens: its text, the tokenizer or the chat "
                "template has changed since teacher_logits ran"
            )
        tensors = self._shard(shard)
        ids, logprobs, tails = (tensors.get_slice(name)[start:end] for name in ("ids", "logprobs", "tails"))
        return Distributions(ids, logprobs, tails[:, self._column])

    def _shard(self, number: int) -> Any:
        if number not in self._open:
            from safetensors import safe_open

            path = self._folder / self.index["shards"][number]
            try:
                # Mapped, not read: rows come in the order of training, and a store may be larger than the memory.
                self._open[number] = safe_open(path, framework="numpy")
            except OSError as error:
                raise NoInput(f"cannot open {path}: {error}") from None
        return self._open[number]
