"""The command line starts fast: what a verb does not need is not imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from azdistill.cli import VERBS

HEAVY = (
    "azure",
    "mlflow",
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "pydantic",
    "yaml",
    "jinja2",
    "aiohttp",
    "optuna",
)


def _modules_after(*arguments: str) -> set[str]:
    """Top-level modules that are loaded when ``azdistill ARGUMENTS`` ends."""
    code = (
        "import json, sys\n"
        "from azdistill.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("no-such-verb",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert _modules_after(*arguments).isdisjoint(HEAVY)


def test_a_pipeline_runs_without_the_half_that_reads_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yml").write_text(PLAIN)
    assert "pydantic" not in _modules_after("run", "p.yml", "--dry-run")


@pytest.mark.parametrize(
    "module", ["azdistill.compile", "azdistill.cloud.workspace.connect", "azdistill.cloud.jobs.follow"]
)
def test_a_module_that_may_need_no_yaml_imports_none(module: str) -> None:
    code = f"import sys, {module}; print('yaml' in sys.modules, 'azdistill.aml' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"


@pytest.mark.parametrize("verb", ["status", "cancel", "resume", "logs", "runs", "run", "validate"])
def test_the_help_of_a_verb_reads_no_yaml(verb: str) -> None:
    assert "yaml" not in _modules_after(verb, "--help")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_neither_azure_nor_mlflow_nor_torch(verb: str) -> None:
    assert _modules_after(verb, "--help").isdisjoint({"azure", "mlflow", "torch", "transformers"})


SWEEP = """
type: pipeline
jobs:
  s:
    type: sweep
    trial: {type: command, command: "true", environment: azureml:e@latest, inputs: {x: {type: number}}}
    search_space: {x: {type: uniform, min_value: 0, max_value: 1}}
    sampling_algorithm: random
    objective: {goal: minimize, primary_metric: loss}
    limits: {max_total_trials: 1}
"""
PLAIN = "type: pipeline\njobs: {a: {type: command, command: 'true', environment: 'azureml:e@latest'}}\n"


@pytest.mark.parametrize(
    ("text", "options", "imported"), [(PLAIN, (), False), (SWEEP, ("--dry-run",), False), (SWEEP, (), True)]
)
def test_optuna_is_imported_only_when_a_sweep_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: tuple[str, ...], imported: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yml").write_text(text)
    assert ("optuna" in _modules_after("run", "p.yml", "--no-tracking", *options)) is imported


def test_a_misspelt_verb_names_the_nearest_one() -> None:
    done = subprocess.run([sys.executable, "-m", "azdistill", "validat"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "did you mean 'validate'?" in done.stderr
