"""All JSON that is written can be read by anybody: no NaN, no Infinity."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from azdistill import strict_json
from azdistill.local.run.attempt import Attempt
from azdistill.local.run.listener import Tail
from azdistill.local.store.events import Event
from azdistill.local.store.home import Home
from azdistill.local.store.runs import RunLog, load_run, read_events

ROOT = Path(__file__).parents[1]
FILES = sorted(file for part in ("azdistill", "components") for file in (ROOT / part).rglob("*.py"))
#: Not written to any file: what passes between a driver and its workers, where a key may be infinite.
PIPES = {"parallel_driver.py": 1, "parallel_worker.py": 1}
#: In the order of what stands for them.
ODD = [math.nan, math.inf, -math.inf]


def lax_calls(file: Path) -> list[int]:
    """Lines of a file that write JSON and would let NaN pass."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "json":
            found += [node.lineno for name in node.names if name.name in ("dump", "dumps", "JSONEncoder")]
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if ast.unparse(node.func) not in ("json.dump", "json.dumps", "json.JSONEncoder"):
            continue
        strict = [word for word in node.keywords if word.arg == "allow_nan" and ast.unparse(word.value) == "False"]
        found += [] if strict else [node.lineno]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_writes_json_with_numbers_that_json_has_not(file: Path) -> None:
    assert len(lax_calls(file)) == PIPES.get(file.name, 0), lax_calls(file)


@pytest.mark.parametrize(
    "code", ["json.dumps(x)", "json.dump(x, file, indent=2)", "json.dumps(x, allow_nan=True)", "from json import dumps"]
)
def test_a_call_that_passes_it_by_is_seen(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.py").write_text(f"import json\n{code}\n")
    assert lax_calls(tmp_path / "a.py") == [2]


def of_components() -> ModuleType:
    spec = importlib.util.spec_from_file_location("strict", ROOT / "components" / "common" / "strict_json.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("writer", [strict_json, of_components()], ids=["azdistill", "components"])
def test_numbers_that_are_not_finite_become_null(writer: Any) -> None:
    value = {"a": [1.5, *ODD, (math.nan, "NaN")], "b": {"c": -math.inf, "d": None, math.nan: 2}}
    text = writer.dumps(value, indent=1, ensure_ascii=False)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.5, None, None, None, [None, "NaN"]],
        "b": {"c": None, "d": None, "NaN": 2},
    }
    assert writer.dumps({"b": 1, "a": "\u00fc"}, sort_keys=True) == json.dumps({"b": 1, "a": "\u00fc"}, sort_keys=True)


def test_a_number_that_must_come_back_is_a_word_that_float_reads() -> None:
    words = strict_json.exact({"metrics": dict(enumerate(ODD))})["metrics"]
    assert list(words.values()) == list(strict_json.WORDS) == [of_components().word(value) for value in ODD]
    assert [repr(strict_json.number(word)) for word in words.values()] == [repr(value) for value in ODD]
    assert [repr(float(word)) for word in words.values()] == [repr(value) for value in ODD]
    assert strict_json.number("nan") == "nan"
    assert of_components().word(2.5) == 2.5


def test_the_event_log_and_the_runs_copy_of_it_are_json_and_keep_the_numbers(tmp_path: Path) -> None:
    home = Home(tmp_path)
    log = RunLog(home, "p", "r")
    log.append(Event.of("run_started", pipeline="p", experiment="e", params={}, headline=["s"], steps=["s"]))
    log.append(
        Event.of(
            "step_ended", step="s", status="completed", seconds=1.0, metrics={"a": math.nan, "b": math.inf, "c": 1}
        )
    )
    fields = {"hyperparameters": {}, "draw": {}, "reports": 1, "seconds": 1.0}
    log.append(Event.of("trial_ended", step="s", trial=1, status="completed", metric=-math.inf, **fields))
    log.append(Event.of("run_ended", status="completed", seconds=1.0, outputs={}))
    log.close()
    for line in (log.folder / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    whole = json.loads((log.folder / "run.json").read_text(), parse_constant=pytest.fail)
    assert whole["steps"]["s"]["trials"][0]["metric"] is None
    step = load_run(log.folder).steps["s"]
    assert repr(step.metrics) == "{'a': nan, 'b': inf, 'c': 1}"
    assert step.trials[1].metric == -math.inf
    assert len(read_events(log.folder / "events.jsonl")) == 4


def test_metrics_that_a_step_logged_are_json_and_keep_their_numbers(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    attempt.append_logged([{"kind": "metric", "name": "loss", "value": value, "step": 0} for value in (*ODD, 0.5)])
    for line in attempt.metrics.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert [repr(record["value"]) for record in Tail(attempt.metrics).read()] == ["nan", "inf", "-inf", "0.5"]
