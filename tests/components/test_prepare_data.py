"""prepare_data as it is run: every form of data, every defect with its line, no row lost, no test row in training."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from snapshots import chat, write_jsonl
from splits import HashSplit, lowest


def questions(count, start=0):
    return [
        {"question": f"How many is {n} and 1?", "answer": f"Add one.\n#### {n + 1}"}
        for n in range(start, start + count)
    ]


def prompts(result, split):
    return [row["messages"][-1]["content"] for row in result.rows(split)]


def conserved(result):
    summary = result.summary
    assert summary["in"] == summary["kept"] + summary["rejected"]
    assert summary["kept"] == sum(summary["rows"].values())
    assert summary["rows"] == {split: len(result.rows(split)) for split in ("train", "validation", "test")}
    assert summary["rejected"] == len(result.rows("rejects"))
    return summary


# -- forms ------------------------------------------------------------------------------------------------------------


def as_jsonl(folder, rows):
    return write_jsonl(folder / "data.jsonl", rows)


def as_json(folder, rows):
    path = folder / "data.json"
    path.write_text(json.dumps(rows, indent=1))
    return path


def as_csv(folder, rows, suffix=".csv", delimiter=","):
    path = folder / f"data{suffix}"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_tsv(folder, rows):
    return as_csv(folder, rows, ".tsv", "\t")


def as_parquet(folder, rows):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "data.parquet")
    return folder / "data.parquet"


def as_nameless(folder, rows):
    return as_jsonl(folder, rows).rename(folder / "data")


FORMS = [as_jsonl, as_json, as_csv, as_tsv, as_parquet, as_nameless]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(component, tmp_path, form):
    data = form(tmp_path, questions(60))
    result = component("prepare_data").run({"training_data": data, "task_type": "math"})
    assert result.returncode == 0, result.stderr
    summary = conserved(result)
    assert (summary["in"], summary["kept"]) == (60, 60)
    rows = result.rows("train")
    # The order of the file is kept, and the gold answer is what a student should say.
    numbers = [int(re.findall(r"\d+", row["messages"][0]["content"])[0]) for row in rows]
    assert numbers == sorted(numbers)
    assert [row["reference"] for row in rows] == [str(n + 1) for n in numbers]
    assert rows[0]["metadata"]["reference_text"].startswith("Add one.")


def test_a_folder_saved_by_datasets_is_read_with_its_splits(component, tmp_path):
    from datasets import Dataset, DatasetDict

    saved = DatasetDict({"train": Dataset.from_list(questions(20)), "test": Dataset.from_list(questions(5, 100))})
    saved.save_to_disk(str(tmp_path / "saved"))
    result = component("prepare_data").run({"dataset": tmp_path / "saved", "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert conserved(result)["rows"]["test"] == 5
    assert prompts(result, "test")[0] == "How many is 100 and 1?"


def test_a_folder_of_files_is_read_by_the_names_of_its_splits(component, tmp_path):
    folder = tmp_path / "dataset"
    (folder / "data").mkdir(parents=True)
    as_parquet(folder, questions(10)).rename(folder / "data/train-00000-of-00002.parquet")
    as_parquet(folder, questions(10, 10)).rename(folder / "data/train-00001-of-00002.parquet")
    as_jsonl(folder, questions(4, 50)).rename(folder / "validation.jsonl")
    as_csv(folder, questions(3, 70)).rename(folder / "test.csv")
    (folder / "README.md").write_text("about")
    result = component("prepare_data").run({"dataset": folder, "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert conserved(result)["rows"] == {"train": 20, "validation": 4, "test": 3}


# -- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "record", "prompt", "reference"),
    [
        ("qa", {"question": "Q?", "answer": "A"}, "Q?", "A"),
        ("conversation", {"prompt": "P", "completion": "C"}, "P", "C"),
        ("conversation", {"prompt": "P", "response": "R"}, "P", "R"),
        ("conversation", {"instruction": "I", "input": "X", "output": "O"}, "I\n\nX", "O"),
        ("conversation", {"instruction": "I", "input": "", "output": "O"}, "I", "O"),
        ("summarization", {"article": "Long.", "highlights": "L."}, "Long.", "L."),
        ("conversation", {"conversations": [{"from": "human", "value": "H"}, {"from": "gpt", "value": "G"}]}, "H", "G"),
        ("nli", {"premise": "P", "hypothesis": "H", "label": 2}, "Premise: P\nHypothesis: H", "contradiction"),
        (
            "qa",
            {"question": "Q?", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "B"},
            "(A) x\n(B) y",
            "B",
        ),
        ("math", {"messages": [{"role": "user", "content": "1+1?"}], "reference": "#### 2"}, "1+1?", "2"),
    ],
)
def test_known_columns_are_found(component, tmp_path, task, record, prompt, reference):
    data = write_jsonl(tmp_path / "data.jsonl", [record])
    result = component("prepare_data").run(
        {"training_data": data, "task_type": task, "test_fraction": 0, "validation_fraction": 0}
    )
    assert result.returncode == 0, result.stderr
    (row,) = result.rows("train")
    assert row["messages"][-1]["content"].endswith(prompt)
    assert row["reference"] == reference


def test_columns_of_other_names_are_named_by_the_user(component, tmp_path):
    data = as_csv(tmp_path, [{"frage": f"Was ist {n}?", "antwort": str(n)} for n in range(40)])
    inputs = {"training_data": data, "task_type": "math", "prompt_column": "frage", "reference_column": "antwort"}
    result = component("prepare_data").run(inputs)
    assert result.returncode == 0, result.stderr
    wrong = component("prepare_data").run(inputs | {"prompt_column": "fragen"})
    assert wrong.returncode == 65
    assert "no column 'fragen' (columns: frage, antwort)" in wrong.stderr


def test_unknown_columns_are_listed(component, tmp_path):
    data = as_csv(tmp_path, [{"frage": "a", "antwort": "b"}])
    result = component("prepare_data").run({"training_data": data, "task_type": "qa"})
    assert result.returncode == 65
    assert "columns: frage, antwort" in result.stderr
    assert "prompt_column" in result.stderr


def test_a_system_prompt_is_given_to_rows_that_have_none(component, tmp_path):
    (tmp_path / "system.txt").write_text("Be brief.\n")
    data = write_jsonl(tmp_path / "data.jsonl", [chat("One?"), chat("Two?", system="Be long.")])
    result = component("prepare_data").run(
        {
            "training_data": data,
            "task_type": "qa",
            "system_prompt": tmp_path / "system.txt",
            "test_fraction": 0,
            "validation_fraction": 0,
        }
    )
    assert [row["messages"][0]["content"] for row in result.rows("train")] == ["Be brief.", "Be long."]


# -- defects ----------------------------------------------------------------------------------------------------------

GOOD = json.dumps(chat("Good?", "1")).encode()
DEFECTS = {
    "truncated_json": b'{"messages": [{"role": "user", "cont',
    "roles": json.dumps(
        {"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]}
    ).encode(),
    "invalid_utf8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "characters": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "missing_column": b'{"text": "x"}',
    "schema": b'["a list"]',
    "empty": b'{"messages": [{"role": "user", "content": ""}]}',
    "reference": json.dumps(chat("What?", "no number")).encode(),
}


@pytest.mark.parametrize("on_bad_rows", ["fail", "reject"])
def test_every_bad_row_is_reported_with_its_line(component, tmp_path, on_bad_rows):
    data = tmp_path / "data.jsonl"
    data.write_bytes(b"\n".join([GOOD, *DEFECTS.values()]) + b"\n")
    result = component("prepare_data").run(
        {"training_data": data, "task_type": "math", "on_bad_rows": on_bad_rows, "test_fraction": 0}
        | {"validation_fraction": 0}
    )
    assert result.returncode == (65 if on_bad_rows == "fail" else 0), result.stderr
    assert conserved(result)["reasons"] == dict.fromkeys(sorted(DEFECTS), 1)
    for line, reason in enumerate(DEFECTS, 2):
        assert f"data.jsonl:{line}: {reason}: " in result.stderr
    assert [(row["line"], row["reason"]) for row in result.rows("rejects")] == list(enumerate(DEFECTS, 2))
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("task", "prompt", "gold"),
    [
        ("math", "What is it?", "\\boxed{\\sqrt{2}}"),
        ("math", "What is it?", "3 \\times 10^4"),
        ("math", "What is it?", "5 \\text{ or } 7"),
        ("nli", "Premise: a\nHypothesis: b", "-1"),
        ("qa", "Which?\n(A) one\n(B) two", "C"),
    ],
)
def test_a_gold_answer_that_cannot_be_verified_is_rejected_with_its_row(component, tmp_path, task, prompt, gold):
    data = write_jsonl(tmp_path / "data.jsonl", [chat("Other?"), chat(prompt, gold)])
    inputs = {"training_data": data, "task_type": task, "on_bad_rows": "reject"}
    result = component("prepare_data").run(inputs | {"test_fraction": 0, "validation_fraction": 0})
    assert result.returncode == 0, result.stderr
    (rejected,) = result.rows("rejects")
    assert (rejected["reason"], rejected["line"]) == ("reference", 2)
    assert "can verify" in rejected["detail"]
    assert rejected["row"]["reference"] == gold


def test_many_bad_rows_are_counted_and_all_are_in_the_rejects(component, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_bytes(b"\n".join([GOOD] + [b"{"] * 70))
    result = component("prepare_data").run({"training_data": data, "task_type": "math"})
    assert result.returncode == 65
    assert result.stderr.count("truncated_json: ") == 20
    assert "and 50 more" in result.stderr
    assert "70 rows cannot be used" in result.stderr
    assert len(result.rows("rejects")) == 70


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.jsonl", b"", "no rows"),
        ("data.csv", b"question,answer\n", "no rows"),
        ("data.json", b"[]", "no rows"),
        ("data.parquet", b"PAR1 nothing", "not a Parquet file"),
        ("data.xyz", b"\x89PNG", "cannot tell"),
        ("data.json", b'[{"question": "a", "answer": "\xff"}]', "data.json:1"),
    ],
)
def test_files_that_hold_no_data_are_named(component, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    result = component("prepare_data").run({"training_data": tmp_path / name, "task_type": "qa"})
    assert result.returncode == 65, result.stderr
    assert said in result.stderr
    assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_defects_of_tables_and_lists_have_their_lines_too(component, tmp_path):
    table = tmp_path / "data.csv"
    table.write_bytes(b'question,answer\n"two\nlines",1\nshort\nlong,2,3\nbad \xff,4\ngood,5\n')
    one = component("prepare_data").run({"training_data": table, "task_type": "math"})
    assert [(row["line"], row["reason"]) for row in one.rows("rejects")] == [
        (4, "schema"),
        (5, "schema"),
        (6, "invalid_utf8"),
    ]
    listed = tmp_path / "data.json"
    listed.write_text('[\n{"question": "a", "answer": "1"},\n5,\n{"question": "b", "answer": "2"')
    two = component("prepare_data").run({"training_data": listed, "task_type": "math"})
    assert [(row["line"], row["reason"]) for row in two.rows("rejects")] == [(3, "schema"), (4, "truncated_json")]


@pytest.mark.parametrize(
    ("inputs", "code", "said"),
    [
        ({"training_data": Path("none.jsonl")}, 66, "none.jsonl"),
        ({}, 78, "nothing to read"),
        ({"training_data": Path("/"), "task_type": "poetry"}, 78, "poetry"),
        ({"dataset": Path("/none")}, 66, "not a folder"),
        ({"test_data": Path("a"), "validation_fraction": 0.6, "test_fraction": 0.5}, 78, "leave something"),
    ],
)
def test_inputs_that_cannot_be_are_refused(component, inputs, code, said):
    result = component("prepare_data").run({"task_type": "math"} | inputs)
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


# -- splits -----------------------------------------------------------------------------------------------------------


def test_duplicates_are_dropped_and_no_test_row_leaks_into_training(component, tmp_path):
    training = write_jsonl(tmp_path / "train.jsonl", questions(50) + questions(5))
    # The same questions but for case and spacing.
    test = [{"question": f" how many  IS {n} and 1?", "answer": f"#### {n + 1}"} for n in range(10)]
    result = component("prepare_data").run(
        {"training_data": training, "test_data": write_jsonl(tmp_path / "test.jsonl", test), "task_type": "math"}
    )
    assert result.returncode == 0, result.stderr
    summary = conserved(result)
    assert summary["rows"]["test"] == 10
    assert summary["splits"]["test_data"]["rejected"] == 0
    # Rows 0 to 9 leak; of the 5 that stand twice, both do.
    assert summary["reasons"] == {"leak": 15}
    kept = {prompt.casefold() for split in ("train", "validation") for prompt in prompts(result, split)}
    assert kept.isdisjoint(" ".join(prompt.split()).casefold() for prompt in prompts(result, "test"))
    assert result.rows("rejects")[0]["detail"].startswith("the same messages as the row of line 1 of the test split")


def test_a_validation_file_that_is_the_training_file_is_split_instead(component, tmp_path):
    data = as_jsonl(tmp_path, [chat(f"What is {n}?", str(n)) for n in range(60)])
    same = tmp_path / "copy.jsonl"
    same.write_bytes(data.read_bytes())
    result = component("prepare_data").run({"training_data": data, "validation_data": same, "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert "'validation_data' is the same file as 'training_data'" in result.stderr
    assert result.summary["in"] == 60
    assert set(prompts(result, "train")).isdisjoint(prompts(result, "validation"))
    assert len(prompts(result, "validation")) > 0


def test_rows_that_are_all_in_the_test_data_are_said_to_be(component, tmp_path):
    rows = [chat(f"What is {n}?", str(n)) for n in range(9)]
    data, test = as_jsonl(tmp_path, rows), write_jsonl(tmp_path / "more.jsonl", [*rows, chat("What else?", "1")])
    result = component("prepare_data").run({"training_data": data, "test_data": test, "task_type": "math"})
    assert result.returncode == 65
    assert "no training rows are left; 9 of them are in the validation or test data as well" in result.stderr


def test_adding_rows_moves_no_other(component, tmp_path):
    few = component("prepare_data").run(
        {"training_data": write_jsonl(tmp_path / "few.jsonl", questions(200)), "task_type": "math"}
    )
    more = questions(100, 500) + questions(200)[::-1] + questions(100, 800)
    many = component("prepare_data").run(
        {"training_data": write_jsonl(tmp_path / "many.jsonl", more), "task_type": "math"}
    )
    for split in ("train", "validation", "test"):
        assert set(prompts(few, split)) <= set(prompts(many, split))
    assert 5 <= len(prompts(few, "test")) <= 40
    assert 5 <= len(prompts(few, "validation")) <= 40


def test_another_seed_is_another_split(component, tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", questions(200))
    one = component("prepare_data").run({"training_data": data, "task_type": "math"})
    two = component("prepare_data").run({"training_data": data, "task_type": "math", "seed": 7})
    assert set(prompts(one, "test")) != set(prompts(two, "test"))


def test_a_limit_keeps_the_rows_that_a_smaller_one_kept(component, tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", questions(200))
    inputs = {"training_data": data, "task_type": "math", "max_test_rows": 3}
    small = component("prepare_data").run(inputs | {"max_training_rows": 20})
    large = component("prepare_data").run(inputs | {"max_training_rows": 50})
    assert small.returncode == 0, small.stderr
    assert conserved(small)["rows"]["train"] == 20
    assert conserved(large)["rows"] | {"validation": 0} == {"train": 50, "test": 3, "validation": 0}
    assert set(prompts(small, "train")) < set(prompts(large, "train"))


def test_a_test_file_alone_is_prepared_too(component, tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", questions(5))
    result = component("prepare_data").run({"test_data": data, "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert conserved(result)["rows"] == {"train": 0, "validation": 0, "test": 5}


def test_a_split_without_rows_is_an_error_that_says_what_to_do(component, tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", questions(1))
    result = component("prepare_data").run({"training_data": data, "task_type": "math", "test_fraction": 0.000001})
    assert result.returncode == 65
    assert "raise 'test_fraction'" in result.stderr


def test_the_shares_of_a_hash_split_are_about_right():
    split = HashSplit(0.2, 0.1, seed=1)
    found = [split.split(number.to_bytes(16, "big")) for number in range(20_000)]
    assert abs(found.count("test") / 20_000 - 0.1) < 0.01
    assert abs(found.count("validation") / 20_000 - 0.2) < 0.01


def test_a_limit_is_no_neighbourhood_of_the_split():
    digests = [number.to_bytes(16, "big") for number in range(5_000)]
    chosen = lowest(digests, 500, seed=1)
    split = HashSplit(0.5, 0.0, seed=1)
    assert len(chosen) == 500
    assert 0.4 < sum(split.split(digest) == "validation" for digest in chosen) / 500 < 0.6


def test_counts_are_logged_as_metrics(component, tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", questions(60) + questions(2))
    result = component("prepare_data").run({"training_data": data, "task_type": "math"})
    assert result.metric("rows_in") == 62
    assert result.metric("rows_rejected") == 2
    assert result.metric("rows_train") == len(result.rows("train"))
