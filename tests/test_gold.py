"""Whether training rows carry gold answers is told as it is, for every shape and file that prepare_data reads."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import compile as build
from azdistill.compile.gold import table

sys.path.append(str(Path(__file__).parents[1] / "components"))
sys.path.append(str(Path(__file__).parents[1] / "components" / "data" / "prepare_data"))
from cells import Cells
from columns import choose_columns, to_row
from common.tasks import get_task

Rows = list[dict[str, Any]]
TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
SHARED = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
#: Rows with a gold answer, and the same shape without one.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "reference": ({"messages": TURNS[:1], "reference": "A"}, {"messages": TURNS[:1], "reference": None}),
    "assistant": ({"messages": TURNS}, {"messages": TURNS[:1]}),
    "sharegpt": ({"conversations": SHARED}, {"conversations": SHARED[:1]}),
    "nli": ({"premise": "P", "hypothesis": "H", "label": 0}, {"premise": "P", "hypothesis": "H"}),
    "choices": ({"question": "Q", "choices": ["x", "y"], "answer": 0}, {"question": "Q", "choices": ["x", "y"]}),
    "alpaca": ({"instruction": "I", "input": "", "output": "O"}, {"instruction": "I", "input": "X", "output": ""}),
    "question": ({"question": "Q", "answer": "A"}, {"question": "Q", "answer": " "}),
    "completion": ({"prompt": "P", "completion": "C"}, {"prompt": "P", "completion": None}),
    "news": ({"article": "A", "highlights": "H"}, {"article": "A", "highlights": ""}),
}
FLAT = ("nli", "alpaca", "question", "completion", "news")


def as_jsonl(folder: Path, rows: Rows) -> str:
    (folder / "rows.jsonl").write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in rows))
    return "rows.jsonl"


def as_json(folder: Path, rows: Rows) -> str:
    (folder / "rows.json").write_text(json.dumps(rows, indent=1))
    return "rows.json"


def as_nameless(folder: Path, rows: Rows) -> str:
    (folder / "rows").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "rows"


def as_csv(folder: Path, rows: Rows, name: str = "rows.csv", delimiter: str = ",") -> str:
    with (folder / name).open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return name


def as_tsv(folder: Path, rows: Rows) -> str:
    return as_csv(folder, rows, "rows.tsv", "\t")


def as_parquet(folder: Path, rows: Rows, name: str = "rows.parquet") -> str:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), folder / name)
    return name


def as_folder(folder: Path, rows: Rows) -> str:
    (folder / "set/data").mkdir(parents=True)
    as_parquet(folder, rows, "set/data/train-0.parquet")
    as_jsonl(folder / "set", [{"question": "Q", "answer": "gold of the test rows"}])
    (folder / "set/rows.jsonl").rename(folder / "set/test.jsonl")
    return "set"


def as_saved(folder: Path, rows: Rows) -> str:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(folder / "saved"))
    return "saved"


def compiled(folder: Path, name: str, **data: Any) -> tuple[bool, str]:
    """Whether there is a student trained on gold answers, and what is said of it."""
    source = {"dataset" if (folder / name).is_dir() else "training_data": name}
    tree = {
        "task": "conversation",
        "teacher": {"model": "m", "endpoint": "http://127.0.0.1:1/v1"},
        "student": "owner/student",
        "data": {**source, **data},
    }
    (folder / "recipe.yml").write_text(yaml.safe_dump(tree))
    made = build.compile_recipe(folder / "recipe.yml")
    (note,) = [line for line in made.notes if "gold" in line]
    return "finetune_gold" in made.mapping["jobs"], note


FORMS: list[Callable[[Path, Rows], str]] = [as_jsonl, as_json, as_nameless, as_parquet, as_folder, as_saved]
CASES = [(shape, form) for shape in SHAPES for form in (*FORMS, *((as_csv, as_tsv) if shape in FLAT else ()))]


@pytest.mark.parametrize(("shape", "form"), CASES)
def test_gold_answers_are_seen_in_every_shape_and_file(
    tmp_path: Path, shape: str, form: Callable[[Path, Rows], str]
) -> None:
    gold, none = SHAPES[shape]
    empty = dict.fromkeys(gold) | none
    has, note = compiled(tmp_path, form(tmp_path, [empty, gold]))
    assert has, note
    assert note.startswith("the training rows carry gold answers")


@pytest.mark.parametrize(("shape", "form"), [(shape, form) for shape in SHAPES for form in (as_jsonl, as_parquet)])
def test_none_are_said_to_be_seen_only_where_there_are_none(
    tmp_path: Path, shape: str, form: Callable[[Path, Rows], str]
) -> None:
    has, note = compiled(tmp_path, form(tmp_path, [SHAPES[shape][1]]))
    assert not has
    assert note.startswith("no gold answers were seen in the training rows")


@pytest.mark.parametrize("shape", [*SHAPES, *(str(number) for number in range(len(table()["shapes"])))])
def test_the_compiler_and_prepare_data_see_the_same_gold_answers(tmp_path: Path, shape: str) -> None:
    if shape in SHAPES:
        records = list(SHAPES[shape])
    else:
        columns = table()["shapes"][int(shape)]["columns"]
        values: dict[str, Any] = {"messages": TURNS, "conversations": SHARED, "choices": ["x", "y"]}
        records = [{name: values.get(name, "text") for name in columns}]
    for record in records:
        row = to_row(Cells(record), choose_columns(record, None, None, "f"), get_task("conversation"), None)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        assert compiled(folder, as_jsonl(folder, [record]))[0] is ("reference" in row)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("azureml:rows@latest", None, "not on this machine"),
        ("rows.jsonl", '{"messages": [{"ro', "no row of it could be read"),
        ("rows.jsonl", '{"frage": "x", "antwort": "y"}', "its columns are not known ones (frage, antwort)"),
        ("rows.parquet", "PAR1", "it cannot be read"),
        ("rows.jsonl", '{"messages": [{"role": "user", "content": "Q"}], "answer": "A"}', "its column 'answer'"),
        ("rows.jsonl", '{"messages": [{"role": "user", "content": "Q"}], "chosen": "A"}', "its column 'chosen'"),
        ("rows.jsonl", '{"conversations": [{"from": "model", "value": "A"}]}', "the role 'model' in its turns"),
    ],
)
def test_what_cannot_be_told_is_not_called_none(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    has, note = compiled(tmp_path, name)
    assert not has
    assert note.startswith("cannot tell whether the training rows carry gold answers")
    assert why in note
    assert "evaluation.gold_sft: true" in note


def test_without_pyarrow_parquet_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = as_parquet(tmp_path, [SHAPES["question"][0]])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pyarrow, which reads Parquet, is not installed here" in compiled(tmp_path, name)[1]


def test_a_prompt_that_the_user_names_has_no_gold_answer_unless_it_is_a_conversation(tmp_path: Path) -> None:
    name = as_jsonl(tmp_path, [{"frage": "Q", "answer": "A"}])
    has, note = compiled(tmp_path, name, prompt_column="frage")
    assert has is False
    assert "its column 'answer' is not read as one (data.reference_column names the one that is)" in note
    name = as_jsonl(tmp_path, [{"talk": TURNS}])
    assert compiled(tmp_path, name, prompt_column="talk")[0] is True


def test_gold_answers_far_down_are_seen_and_what_was_looked_at_is_said(tmp_path: Path) -> None:
    rows = [{"messages": TURNS[:1]}] * 9_000
    assert compiled(tmp_path, as_jsonl(tmp_path, [*rows, {"messages": TURNS}]))[0]
    assert "in the first 10,000 training rows" in compiled(tmp_path, as_jsonl(tmp_path, [*rows, *rows]))[1]
