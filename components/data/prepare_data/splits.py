"""Which split a row belongs to, and whether it has been seen before."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class HashSplit:
    """Splits by a hash of the prompt: adding rows never moves another one, and equal prompts stay together."""

    validation_fraction: float
    test_fraction: float
    seed: int

    def split(self, digest: bytes) -> str:
        """``train``, ``validation`` or ``test`` for the prompt with this digest."""
        place = rank(digest, self.seed) / 2**64
        if place < self.test_fraction:
            return "test"
        return "validation" if place < self.test_fraction + self.validation_fraction else "train"


def rank(digest: bytes, seed: int) -> int:
    """A number of 64 bits that depends on the prompt and the seed only."""
    return int.from_bytes(sha256(f"{seed}:".encode() + digest).digest()[:8], "big")


def lowest(digests: Iterable[bytes], count: int, seed: int) -> set[bytes]:
    """``count`` of the prompts, chosen by their hash: a larger count keeps all that a smaller one chose."""
    # Salted apart from the split's own hash, or the training rows of every limit would be neighbours in it.
    return set(heapq.nsmallest(count, digests, key=lambda digest: rank(b"limit" + digest, seed)))


@dataclass
class Seen:
    """Prompts that were kept. Memory: about 150 bytes a row, whatever its length."""

    _where: dict[bytes, int] = field(default_factory=dict)

    def add(self, digest: bytes, split: str, line: int) -> tuple[str, str] | None:
        """Remember a prompt; for one that was there before, the reason and the detail of its rejection."""
        before = self._where.get(digest)
        if before is None:
            self._where[digest] = line * len(SPLITS) + SPLITS.index(split)
            return None
        line, number = divmod(before, len(SPLITS))
        if SPLITS[number] == split:
            return "duplicate", f"the same messages as the row of line {line} ({split})"
        return "leak", f"the same messages as the row of line {line} of the {SPLITS[number]} split"
