"""A damaged store of a teacher's distributions is one clear line, and is never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common.step import BadData, NoInput, StepError
from modelling.chat import Chat
from modelling.examples import Example, make_examples
from modelling.logit_store import INDEX, Distributions, LogitStore, LogitWriter
from tiny_models import save_tiny, sums, tiny_tokenizer, write_jsonl

ROWS = sums(12)
SHARD = "logits-00000.safetensors"
Change = Callable[[Path], Any]


def examples() -> list[Example]:
    chat = Chat(tiny_tokenizer())
    return make_examples(ROWS, chat, target="response", every_turn=False, max_length=500)[0]


def write_store(folder: Path) -> Path:
    """The distributions of a made-up teacher."""
    draw = np.random.default_rng(0)
    writer = LogitWriter(folder, teacher="t", top_k=4, vocabulary=268, temperatures=[1.0, 2.0])
    for example in examples():
        count = example.encoded.targets
        ids = np.stack([draw.permutation(268)[:4] for _ in range(count)])
        logprobs = np.log(draw.dirichlet(np.ones(5), count))
        writer.add(
            example.row_id, example.encoded.ids, Distributions(ids, logprobs[:, :4], np.repeat(logprobs[:, 4:], 2, 1))
        )
    writer.close()
    return folder


def read_all(folder: Path) -> int:
    store = LogitStore(folder, 2.0)
    return sum(len(store.get(example.row_id, example.encoded.ids).ids) for example in examples())


def flip(place: int) -> Change:
    """XOR a byte, counted from the end where ``place`` is negative."""

    def change(folder: Path) -> None:
        data = bytearray((folder / SHARD).read_bytes())
        data[place] ^= 0x55
        (folder / SHARD).write_bytes(data)

    return change


def cut(share: float) -> Change:
    def change(folder: Path) -> None:
        data = (folder / SHARD).read_bytes()
        (folder / SHARD).write_bytes(data[: int(len(data) * share)])

    return change


def tensors(**changes: Callable[[Any], Any]) -> Change:
    """A shard that can be read, and holds something else."""

    def change(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        held = load_file(folder / SHARD)
        for name, make in changes.items():
            held[name] = np.ascontiguousarray(make(held[name].copy()))
        save_file(held, folder / SHARD)

    return change


def put(value: float, place: tuple[int, ...]) -> Callable[[Any], Any]:
    def make(array: Any) -> Any:
        array[place] = value
        return array

    return make


def index(make: Callable[[dict[str, Any]], Any]) -> Change:
    """Another index."""

    def change(folder: Path) -> None:
        held = json.loads((folder / INDEX).read_text())
        make(held)
        (folder / INDEX).write_text(json.dumps(held))

    return change


def shift_rows(held: dict[str, Any]) -> None:
    first, second = list(held["rows"].values())[:2]
    first[1:3], second[1:3] = second[1:3], first[1:3]


#: What happens to a store -> the error, and its words.
DAMAGE = [
    pytest.param(flip(-1), BadData, "its sha256 is not the one in logits.json", id="last-byte"),
    pytest.param(flip(300), BadData, "its sha256 is not the one in logits.json", id="a-byte-of-the-header"),
    pytest.param(cut(0.5), BadData, "its sha256", id="half-a-file"),
    pytest.param(cut(0), BadData, "its sha256", id="an-empty-file"),
    pytest.param(tensors(ids=put(999, (3, 1))), BadData, "its sha256", id="ids-out-of-range"),
    pytest.param(lambda folder: (folder / SHARD).unlink(), NoInput, "No such file", id="no-shard"),
    pytest.param(lambda folder: (folder / INDEX).write_text("{"), NoInput, "holds no stored logits", id="torn-index"),
    pytest.param(index(lambda held: held.update(top_k=float("nan"))), NoInput, "NaN is no JSON", id="nan-in-index"),
    pytest.param(index(shift_rows), BadData, "its checksum is not that of what it holds", id="rows-elsewhere"),
    pytest.param(index(lambda held: held.pop("checksum")), BadData, "its checksum", id="no-checksum-of-the-index"),
    pytest.param(index(lambda held: held.pop("checksums")), BadData, "its checksum", id="no-list-of-checksums"),
    pytest.param(index(lambda held: held["checksums"].clear()), BadData, "its checksum", id="no-checksum-of-a-shard"),
]


@pytest.mark.parametrize(("change", "error", "words"), DAMAGE)
def test_damage_is_seen_before_a_row_is_used(
    tmp_path: Path, change: Change, error: type[StepError], words: str
) -> None:
    folder = write_store(tmp_path)
    assert read_all(folder) > 0
    change(folder)
    with pytest.raises(error, match=words) as ended:
        read_all(folder)
    assert "\n" not in str(ended.value)


#: Of a store without checksums only what cannot be true is seen.
NO_CHECKSUM = [
    pytest.param(cut(0.5), BadData, "damaged: logits-00000.safetensors: ", id="half-a-file"),
    pytest.param(flip(4), BadData, "damaged", id="a-byte-of-the-header"),
    pytest.param(tensors(ids=put(268, (3, 1))), BadData, "ids of tokens that are not among the 268", id="id-too-large"),
    pytest.param(tensors(ids=put(-1, (0, 0))), BadData, "not among the 268 of the vocabulary", id="id-below-0"),
    pytest.param(tensors(logprobs=put(float("nan"), (1, 1))), BadData, "NaN, or above 0", id="nan"),
    pytest.param(tensors(logprobs=put(7, (1, 1))), BadData, "NaN, or above 0", id="above-0"),
    pytest.param(tensors(tails=put(float("inf"), (1, 0))), BadData, "NaN or infinite", id="tail"),
    pytest.param(tensors(logprobs=lambda array: array[:, :2]), BadData, "do not fit together", id="shapes"),
    pytest.param(
        tensors(**{name: (lambda array: array[:5]) for name in ("ids", "logprobs", "tails")}),
        BadData, "lies behind its end", id="too-few-tokens",
    ),
    pytest.param(
        index(lambda held: next(iter(held["rows"].values())).__setitem__(0, 5)), BadData, "no place in a shard",
        id="no-such-shard",
    ),
    pytest.param(index(lambda held: held.update(rows=[])), BadData, "not as teacher_logits writes", id="rows-a-list"),
    pytest.param(index(lambda held: held.update(shards=["../x"])), BadData, "not as", id="a-shard-elsewhere"),
    pytest.param(index(lambda held: held.update(vocabulary=None)), NoInput, "no stored logits", id="no-vocabulary"),
]  # fmt: skip


def forget_checksums(held: dict[str, Any]) -> None:
    del held["checksum"], held["checksums"]


@pytest.mark.parametrize(("change", "error", "words"), NO_CHECKSUM)
def test_a_store_without_checksums_is_used_where_its_numbers_can_be_true(
    tmp_path: Path, change: Change, error: type[StepError], words: str
) -> None:
    folder = write_store(tmp_path)
    index(forget_checksums)(folder)
    assert read_all(folder) > 0
    assert not LogitStore(folder, 1.0).has_checksums
    change(folder)
    with pytest.raises(error, match=words):
        read_all(folder)


def test_numbers_that_cannot_be_true_are_refused_with_a_checksum_as_well(tmp_path: Path) -> None:
    example = examples()[0]
    count = example.encoded.targets
    writer = LogitWriter(tmp_path, vocabulary=268, temperatures=[1.0])
    logprobs = np.full((count, 2), np.nan)
    writer.add(example.row_id, example.encoded.ids, Distributions(np.zeros((count, 2)), logprobs, np.zeros((count, 1))))
    writer.close()
    with pytest.raises(BadData, match="NaN, or above 0"):
        LogitStore(tmp_path, 1.0).get(example.row_id, example.encoded.ids)


def test_a_shard_is_read_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelling import logit_store

    folder, seen, original = write_store(tmp_path), [], logit_store._file_digest
    monkeypatch.setattr(logit_store, "_file_digest", lambda path: seen.append(path.name) or original(path))
    read_all(folder)
    assert seen == [SHARD]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param(flip(-1), 65, "the stored logits are damaged: logits-00000.safetensors", id="flipped"),
        pytest.param(cut(0.5), 65, "run teacher_logits again", id="cut", marks=pytest.mark.slow),
        pytest.param(lambda folder: (folder / SHARD).unlink(), 66, "cannot open", id="gone", marks=pytest.mark.slow),
    ],
)
def test_the_step_does_not_train_on_a_damaged_store(
    component: Callable[..., Any], tmp_path: Path, change: Change, code: int, words: str
) -> None:
    folder = write_store(tmp_path / "logits")
    change(folder)
    rows, student = write_jsonl(tmp_path / "rows.jsonl", ROWS), save_tiny(tmp_path / "student")
    ended = component("finetune_student").run(
        {"rows": rows, "student_weights": student, "method": "logits", "logits": folder}
    )
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.outputs["model"].exists()


def test_a_step_says_that_a_store_has_no_checksums(component: Callable[..., Any], tmp_path: Path) -> None:
    folder = write_store(tmp_path / "logits")
    index(forget_checksums)(folder)
    rows, student = write_jsonl(tmp_path / "rows.jsonl", ROWS), save_tiny(tmp_path / "student")
    ended = component("finetune_student").run(
        {"rows": rows, "student_weights": student, "method": "logits", "logits": folder, "max_steps": 1}
    )
    assert ended.returncode == 0, ended.stderr
    assert "the stored logits have no checksums" in ended.stderr
