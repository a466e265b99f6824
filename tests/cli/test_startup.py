"""The command line starts fast: what a verb does not need is not imported."""

import json
import subprocess
import sys

import pytest

from azdistill.cli import VERBS

HEAVY = ("azure", "mlflow", "torch", "transformers", "numpy", "pandas", "pydantic", "yaml", "jinja2", "aiohttp")


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


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_neither_azure_nor_mlflow_nor_torch(verb: str) -> None:
    assert _modules_after(verb, "--help").isdisjoint({"azure", "mlflow", "torch", "transformers"})


def test_a_misspelt_verb_names_the_nearest_one() -> None:
    done = subprocess.run([sys.executable, "-m", "azdistill", "validat"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "did you mean 'validate'?" in done.stderr
