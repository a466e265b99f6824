"""Every column of a dataset becomes part of its rows, or is named as unused: nothing is dropped in silence."""

from __future__ import annotations

import json
import random
import string

import pytest
from snapshots import write_jsonl
from test_prepare_data import FORMS, as_csv, as_json, as_jsonl, as_parquet

WHOLE = {"validation_fraction": 0, "test_fraction": 0}
TURNS = [{"from": "human", "value": "H {n}"}, {"from": "gpt", "value": "G {n}"}]
MESSAGES = [{"role": "user", "content": "U {n}"}, {"role": "assistant", "content": "A {n}"}]
#: A record of each shape that people have, with its task.
SHAPES = {
    "messages": ("conversation", {"messages": MESSAGES}),
    "sharegpt": ("conversation", {"conversations": TURNS}),
    "sharegpt with roles": ("conversation", {"conversations": MESSAGES}),
    "nli": ("nli", {"premise": "P {n}", "hypothesis": "H", "label": "neutral"}),
    "choices": ("qa", {"question": "Q {n}", "choices": ["x", "y"], "answer": "A"}),
    "question": ("qa", {"question": "Q {n}", "answer": "A {n}"}),
    "squad": ("qa", {"context": "C {n}", "question": "Q", "answer": "A {n}"}),
    "orca": ("conversation", {"system_prompt": "S", "question": "Q {n}", "response": "R {n}"}),
    "completion": ("conversation", {"prompt": "P {n}", "completion": "C {n}"}),
    "alpaca": ("conversation", {"instruction": "I {n}", "input": "X", "output": "O {n}"}),
    "alpaca with system": ("conversation", {"system": "S", "instruction": "I {n}", "input": "X", "output": "O {n}"}),
    "dolly": ("conversation", {"instruction": "I {n}", "context": "X", "response": "O {n}"}),
    "news": ("summarization", {"article": "Long {n}.", "highlights": "L {n}."}),
}


def filled(shape, count, **more):
    text = json.dumps(SHAPES[shape][1])
    return [json.loads(text.replace("{n}", str(number))) | more for number in range(count)]


def as_saved(folder, rows):
    from datasets import Dataset

    Dataset.from_list(rows).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def as_folder(folder, rows):
    (folder / "files/data").mkdir(parents=True)
    return as_parquet(folder, rows).rename(folder / "files/data/train-00000-of-00001.parquet").parents[1]


def prepared(component, path, task, **inputs):
    source = {"dataset" if path.is_dir() else "training_data": path}
    result = component("prepare_data").run({**source, "task_type": task, **WHOLE, **inputs})
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        *((shape, form) for shape in SHAPES for form in (as_jsonl, as_parquet)),
        *((shape, form) for shape in ("squad", "alpaca with system") for form in (*FORMS[1:4], *FORMS[5:])),
        *((shape, form) for shape in ("squad", "messages") for form in (as_saved, as_folder)),
        ("messages", as_csv),
    ],
)
def test_a_column_that_is_not_used_is_named_whatever_the_file(component, tmp_path, shape, form):
    draw = random.Random(f"{shape}{form.__name__}")
    name = "x" + "".join(draw.choices(string.ascii_letters + string.digits + "_ -.", k=9)).strip()
    rows = filled(shape, 9)
    if form.__name__ in ("as_csv", "as_tsv"):
        rows = [
            {key: json.dumps(cell) if isinstance(cell, list) else cell for key, cell in row.items()} for row in rows
        ]
    rows = [row | {name: draw.choice(["word", "0", "\u092e\u0930"])} for row in rows]
    task = SHAPES[shape][0]
    result = prepared(component, form(tmp_path, rows), task)
    assert result.stderr.count("columns not used") == 1
    assert f"columns not used: {name} (9 rows)\n" in result.stderr
    assert result.summary["columns_not_used"] == {"training_data": {name: 9}}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_shape_that_is_used_whole_names_nothing(component, tmp_path, shape):
    task = SHAPES[shape][0]
    result = prepared(component, as_jsonl(tmp_path, filled(shape, 3)), task)
    assert "not used" not in result.stderr
    text = json.dumps(result.rows("train"))
    words = [word for word in json.dumps(SHAPES[shape][1]).split('"') if word.isupper() and "{n}" not in word]
    assert all(word in text for word in words)


def test_columns_of_later_rows_and_other_files_are_named_too(component, tmp_path):
    late = [*filled("question", 5), {"question": "late", "answer": "A", "note": "only here", "blank": ""}]
    test = [row | {"weight": 0} for row in filled("squad", 4)]
    validation = as_csv(tmp_path, [row | {"source": "web"} for row in filled("completion", 3)])
    inputs = {"test_data": write_jsonl(tmp_path / "test.jsonl", test), "validation_data": validation}
    result = prepared(component, as_json(tmp_path, late), "qa", **inputs)
    assert "data.json: columns not used: note (1 row), blank (empty)\n" in result.stderr
    assert "test.jsonl: columns not used: weight (4 rows)\n" in result.stderr
    assert "data.csv: columns not used: source (3 rows)\n" in result.stderr


def test_keys_of_turns_that_carry_meaning_are_named(component, tmp_path):
    turns = [
        {"role": "user", "content": "Q {n}", "name": "ann"},
        {"role": "assistant", "content": "A", "weight": 0, "tool_calls": [{"id": "1"}], "refusal": None},
    ]
    rows = [json.loads(json.dumps({"messages": turns}).replace("{n}", str(n))) for n in range(3)]
    result = prepared(component, as_jsonl(tmp_path, rows), "conversation")
    named = "messages[].name (3 rows), messages[].weight (3 rows), messages[].tool_calls (3 rows)\n"
    assert f"columns not used: {named}" in result.stderr
    shared = [{"from": "human", "value": "H", "weight": 0.5}, {"from": "gpt", "value": "G"}]
    result = prepared(component, as_jsonl(tmp_path, [{"conversations": shared}]), "conversation")
    assert "columns not used: conversations[].weight (1 row)\n" in result.stderr


def test_an_answer_that_gives_way_to_a_reference_is_named(component, tmp_path):
    result = prepared(component, as_jsonl(tmp_path, filled("messages", 2, reference="R")), "conversation")
    assert result.rows("train")[0]["reference"] == "R"
    assert "columns not used: the last assistant turn (2 rows)\n" in result.stderr


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"context": "Ctx 1", "question": "Who is 1?", "answer": "N1"}, "Context: Ctx 1\n\nQuestion: Who is 1?"),
        ({"passage": "P", "question": "Q?", "answer": True}, "Context: P\n\nQuestion: Q?"),
        ({"context": ["a", "b"], "question": "Q?", "answer": "A"}, "Context: a\n\nb\n\nQuestion: Q?"),
        ({"context": "", "question": "Q?", "answer": "A"}, "Q?"),
        ({"context": "C", "prompt": "P", "completion": "A"}, "C\n\nP"),
        ({"instruction": "I", "context": "C", "response": "A"}, "I\n\nC"),
        (
            {"context": "C", "question": "Q?", "choices": ["x", "y"], "answer": 1},
            "Context: C\n\nQuestion: Q?\nAnswer Choices:\n(A) x\n(B) y",
        ),
    ],
)
def test_the_context_of_a_question_is_part_of_its_prompt(component, tmp_path, record, prompt):
    result = prepared(component, as_jsonl(tmp_path, [record]), "qa")
    assert result.rows("train")[0]["messages"] == [{"role": "user", "content": prompt}]
    assert "not used" not in result.stderr


def test_columns_that_the_user_names_have_their_context_too(component, tmp_path):
    rows = [{"question": "Q?", "gold": "A", "context": "C", "passage": "P"}]
    names = {"prompt_column": "question", "reference_column": "gold"}
    result = prepared(component, as_jsonl(tmp_path, rows), "qa", **names)
    assert result.rows("train")[0]["messages"][0]["content"] == "Context: C\n\nQuestion: Q?"
    assert "columns not used: passage (1 row)\n" in result.stderr


def test_a_context_that_is_no_text_is_a_bad_row(component, tmp_path):
    data = as_jsonl(tmp_path, [{"question": "Q?", "answer": "A", "context": {"title": ["T"]}}])
    result = component("prepare_data").run({"training_data": data, "task_type": "qa", **WHOLE})
    assert result.returncode == 65
    assert "a text is expected in 'context', not an object" in result.stderr


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_system_column_is_the_system_message(component, tmp_path, shape):
    (tmp_path / "system.txt").write_text("From the recipe.")
    rows = [*filled(shape, 1, system="You are a pirate."), *filled(shape, 2)[1:]]
    task = SHAPES[shape][0]
    result = prepared(component, as_jsonl(tmp_path, rows), task, system_prompt=tmp_path / "system.txt")
    own, other = (row["messages"][0] for row in result.rows("train"))
    assert own == {"role": "system", "content": "You are a pirate."}
    assert other["role"] == "system"
    assert other["content"] == ("S" if "system" in shape or shape == "orca" else "From the recipe.")


def test_a_system_column_stands_before_the_system_message_of_the_turns(component, tmp_path):
    turns = [{"from": "system", "value": "In verse."}, {"from": "human", "value": "H"}]
    rows = [
        {"system": "You are a pirate.", "conversations": turns},
        {"system": "In verse.", "conversations": [turns[0], {"from": "human", "value": "other"}]},
    ]
    both, same = prepared(component, as_jsonl(tmp_path, rows), "conversation").rows("train")
    assert both["messages"][0]["content"] == "You are a pirate.\n\nIn verse."
    assert same["messages"][0]["content"] == "In verse."


def test_splits_that_are_not_used_are_named_and_those_of_one_kind_are_joined(component, tmp_path):
    from datasets import Dataset, DatasetDict

    parts = {"train_sft": "a", "train_gen": "b", "test": "c", "unsupervised": "d"}
    data = {name: Dataset.from_list([{"question": f"{word}?", "answer": "A"}]) for name, word in parts.items()}
    DatasetDict(data).save_to_disk(str(tmp_path / "saved"))
    test = write_jsonl(tmp_path / "test.jsonl", [{"question": "e?", "answer": "A"}])
    result = prepared(component, tmp_path / "saved", "qa", test_data=test)
    assert [row["messages"][0]["content"] for row in result.rows("train")] == ["a?", "b?"]
    assert "splits not used: unsupervised" in result.stderr
    assert "its own test rows are not used: 'test_data' is given" in result.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "question,answer,question\na,b,c\n", "the header names the column 'question' twice"),
        ("a.jsonl", '{"question": "a", "answer": "b", "question": "c"}\n', "an object names the key 'question' twice"),
        ("a.json", '[{"question": "a", "answer": "b", "question": "c"}]', "an object names the key 'question' twice"),
    ],
)
def test_a_column_that_is_there_twice_is_refused(component, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    result = component("prepare_data").run({"training_data": tmp_path / name, "task_type": "qa", **WHOLE})
    assert result.returncode == 65
    assert said in result.stderr


def test_a_column_of_parquet_that_is_there_twice_is_refused(component, tmp_path):
    import pyarrow
    import pyarrow.parquet

    cells = [pyarrow.array(["a"])] * 3
    table = pyarrow.Table.from_arrays(cells, names=["question", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    result = component("prepare_data").run({"training_data": tmp_path / "a.parquet", "task_type": "qa", **WHOLE})
    assert result.returncode == 65
    assert "the header names the column 'answer' twice" in result.stderr


@pytest.mark.parametrize("form", [as_parquet, as_saved])
def test_texts_that_are_not_marked_as_texts_are_read_as_texts(component, tmp_path, form):
    rows = [
        {"question": "\u092e {n}".replace("{n}", str(n)).encode(), "answer": b"A", "note": [b"n"]} for n in range(3)
    ]
    result = prepared(component, form(tmp_path, rows), "qa")
    assert [row["messages"][0]["content"] for row in result.rows("train")] == ["\u092e 0", "\u092e 1", "\u092e 2"]
    assert {row["reference"] for row in result.rows("train")} == {"A"}


def test_bytes_that_are_no_text_are_a_bad_row(component, tmp_path):
    rows = [{"question": b"Q", "answer": b"A"}, {"question": b"\xff\xfe", "answer": b"A"}]
    result = prepared(component, as_parquet(tmp_path, rows), "qa", on_bad_rows="reject")
    assert result.summary["reasons"] == {"invalid_utf8": 1}


def test_bytes_in_a_column_that_nobody_reads_are_named_and_no_fault(component, tmp_path):
    result = prepared(component, as_parquet(tmp_path, [{"question": "Q", "answer": "A", "image": b"\xff\xd8"}]), "qa")
    assert len(result.rows("train")) == 1
    assert "columns not used: image" in result.stderr


def test_files_of_a_dataset_that_are_not_read_are_named(component, tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    write_jsonl(folder / "data/train-0.jsonl", filled("squad", 3))
    for name in ("data/train-1.jsonl.gz", "README.md", ".gitattributes"):
        (folder / name).write_text("x")
    (folder / "dataset_infos.json").write_text('{"default": {"features": {}}}')
    result = prepared(component, folder, "qa")
    assert len(result.rows("train")) == 3
    assert "files not used: README.md, data/train-1.jsonl.gz, dataset_infos.json\n" in result.stderr


@pytest.mark.parametrize("record", [{"prompt": "P", "completion": "{a}"}, {"question": "P", "answer": "{a}"}])
@pytest.mark.parametrize("answer", ["    return 1\n", "\n\ttwo\r\n", " x "])
def test_blanks_around_a_gold_answer_in_words_are_its_own(component, tmp_path, record, answer):
    row = {name: answer if value == "{a}" else value for name, value in record.items()}
    result = prepared(component, as_jsonl(tmp_path, [row]), "conversation" if "prompt" in row else "qa")
    assert result.rows("train")[0]["reference"] == answer


def test_an_empty_system_message_is_none(component, tmp_path):
    (tmp_path / "system.txt").write_text("Be brief.")
    turns = [{"role": "system", "content": " "}, *json.loads(json.dumps(MESSAGES))]
    path = as_jsonl(tmp_path, [{"messages": turns}])
    result = prepared(component, path, "conversation", system_prompt=tmp_path / "system.txt")
    assert result.rows("train")[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_conversations_in_a_table_are_read(component, tmp_path):
    rows = [{"conversations": json.dumps(row["conversations"])} for row in filled("sharegpt", 3)]
    result = prepared(component, as_csv(tmp_path, rows), "conversation")
    assert [row["reference"] for row in result.rows("train")] == ["G 0", "G 1", "G 2"]


def test_a_question_with_a_list_of_no_choices_is_a_bad_row(component, tmp_path):
    rows = [{"question": "Q", "choices": ["x", "y"], "answer": "A"}, {"question": "Q2", "choices": [], "answer": "A"}]
    result = prepared(component, as_jsonl(tmp_path, rows), "qa", on_bad_rows="reject")
    assert result.summary["reasons"] == {"schema": 1}


@pytest.mark.parametrize("form", [as_jsonl, as_json])
@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.10", "1.10"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ("1e400", "1e400"),
        ("3.0", "3"),
        ("7", "7"),
    ],
)
def test_a_number_keeps_the_digits_that_it_was_written_with(component, tmp_path, form, number, text):
    path = form(tmp_path, [{"question": "Q", "answer": "?", "metadata": {"price": 2.50}}])
    path.write_text(path.read_text().replace('"?"', number))
    row = prepared(component, path, "qa").rows("train")[0]
    assert (row["reference"], row["metadata"]) == (text, {"price": 2.5})
