"""All that a step can observe is in its key, or in the list of what does not count.

The variables are not written down here: whatever a step of any kind sees is held against the two lists of
``azdistill/local/run/environment.py``. One that is in neither fails until somebody has decided on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_helpers import ENVIRONMENT, step

from azdistill.local.cache.key import read_key
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.order import VARIABLE as THREADS
from azdistill.local.run.environment import CONSTANT, COUNTED, PASSED, is_left_out
from azdistill.local.store.home import find_home

Run = Callable[..., Finished]

ASKED_FOR = ("MODE", "TEACHER_API_KEY")
OF_THE_STEP = {"SETTING": "on"}
FOLDER = {"o": {"type": "uri_folder"}}
#: The script of a parallel step, and of a trial.
TELL_PY = """\
import json, os, pathlib

def tell():
    text = b"\\0".join(b"=".join(pair) for pair in os.environb.items())
    pathlib.Path(os.environ["AZURE_ML_OUTPUT_o"], "env").write_bytes(text)

def run(files):
    tell()
    return files

if __name__ == "__main__":
    tell()
    with open(os.environ["AZDISTILL_METRICS_FILE"], "a") as file:
        print(json.dumps({"kind": "metric", "name": "m", "value": 1}), file=file)
"""


def callers(value: str) -> dict[str, str]:
    """The caller's variables: one for each pattern of those that are passed on, and a few others."""
    names = [pattern.replace("*", "X") for pattern in PASSED if pattern not in ("LC_*", "LANG")]
    # What is asked to count processors or to find libraries has to make sense.
    special = {
        "OMP_X": "1",
        "LD_LIBRARY_PATH": f"/{value}",
        "LC_X": value,
        "LANG": "C.UTF-8",
        "PYTHONUSERBASE": f"/{value}",
    }
    others = dict.fromkeys((*ASKED_FOR, "HF_TOKEN", "HOME", "USER", "LOGNAME", "TMPDIR", "UNHEARD_OF"), value)
    return {**dict.fromkeys(names, value), **others, **special, "TMPDIR": "/tmp", "HOME": f"/{value}"}


def variables_in(path: Path) -> dict[str, str]:
    """What ``env -0`` wrote."""
    pairs = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs if pair)}


def counted(finished: Finished, name: str) -> Mapping[str, str]:
    """What the key of a step says of variables."""
    key = read_key(find_home(), finished.state, name)
    assert key
    variables: Mapping[str, str] = key.fields["variables"]
    return variables


def undecided(seen: Mapping[str, str], in_key: Mapping[str, str]) -> list[str]:
    """The variables of a step that nobody has decided on."""
    # A hyperparameter is in the key of its trial, and the space that it is from in that of the sweep.
    decided = {"AZUREML_SWEEP_rate", *ASKED_FOR, *OF_THE_STEP, *CONSTANT, THREADS}
    return [
        name
        for name in seen
        if name not in decided
        and not is_left_out(name)
        and not (name in in_key and any(fnmatchcase(name, pattern) for pattern in COUNTED))
    ]


@pytest.fixture
def jobs(project: Path) -> dict[str, Any]:
    """Steps of every kind, each of which tells its variables."""
    (project / "rows").mkdir()
    (project / "rows" / "a.txt").write_text("a row\n")
    (project / "tell.py").write_text(TELL_PY)
    trial = {
        "type": "command",
        "name": "trial",
        "environment": ENVIRONMENT,
        "inputs": {"rate": {"type": "number"}},
        "outputs": FOLDER,
        "code": "./tell.py",
        "command": "python tell.py ${{inputs.rate}} > '${{outputs.o}}/more'",
    }
    (project / "trial.yml").write_text(yaml.safe_dump(trial))
    rows = {"rows": {"type": "uri_folder", "path": "./rows"}}
    tell = "test -d '${{inputs.rows}}'; env -0 > '${{outputs.o}}/env'"
    plain = step(tell, inputs=rows, environment_variables=OF_THE_STEP) | {"outputs": FOLDER}
    task = {"type": "run_function", "code": "./tell.py", "entry_script": "tell.py", "environment": ENVIRONMENT}
    parallel = {
        **{"type": "parallel", "inputs": rows, "outputs": FOLDER, "input_data": "${{inputs.rows}}", "task": task},
        **{"mini_batch_size": "1", "resources": {"instance_count": 1}, "max_concurrency_per_instance": 1},
    }
    sweep = {
        "type": "sweep",
        "trial": "./trial.yml",
        "outputs": FOLDER,
        "search_space": {"rate": {"type": "choice", "values": [1]}},
        "sampling_algorithm": "grid",
        "objective": {"primary_metric": "m", "goal": "maximize"},
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 1},
    }
    several = {"distribution": {"type": "pytorch", "process_count_per_instance": 1}}
    return {"plain": plain, "distributed": plain | several, "parallel": parallel, "sweep": sweep}


def test_each_variable_that_a_step_sees_is_decided(
    run: Run, jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perturb all of the caller's at once: what a step sees otherwise, its key knows, or the list says why not."""
    runs = []
    for value in ("first", "second"):
        for name, text in callers(value).items():
            monkeypatch.setenv(name, text)
        runs.append(run(jobs, options=Options(variables=ASKED_FOR)))
    for name in jobs:
        seen = []
        for finished in runs:
            assert finished.state.steps[name].status == "completed"
            seen.append(variables_in(Path(finished.state.steps[name].outputs["o"], "env")))
        keys = [counted(finished, name) for finished in runs]
        assert [undecided(each, key) for each, key in zip(seen, keys, strict=True)] == [[], []]
        assert "UNHEARD_OF" not in seen[0]
        changed = {each for each in seen[0].keys() | seen[1].keys() if seen[0].get(each) != seen[1].get(each)}
        assert {"HF_X", "TZ", "MODE"} <= changed
        unknown = {each for each in changed if keys[0].get(each) == keys[1].get(each) and not is_left_out(each)}
        # Of these the list says so by the kind of their name.
        assert unknown <= {"HF_TOKEN", "TEACHER_API_KEY"}


def test_a_variable_that_nobody_decided_on_is_found(
    run: Run, jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this file is for: one more that is passed on, or that the runner sets, fails the test above."""
    from azdistill.local.run import environment, prepare

    monkeypatch.setattr(environment, "PASSED", (*PASSED, "UNHEARD_OF"))
    monkeypatch.setattr(prepare, "CONSTANT", {**CONSTANT, "AZDISTILL_NEW": "x"})
    monkeypatch.setenv("UNHEARD_OF", "x")
    finished = run({"plain": jobs["plain"]})
    seen = variables_in(Path(finished.state.steps["plain"].outputs["o"], "env"))
    assert sorted(undecided(seen, counted(finished, "plain"))) == ["AZDISTILL_NEW", "UNHEARD_OF"]
    # Until it is decided it counts: a result too many is made, and none is wrong.
    assert "UNHEARD_OF" in counted(finished, "plain")
