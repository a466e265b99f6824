"""This machine: interpreter, packages and their pins, disk, Docker. No network is needed."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from azdistill.cloud.doctor.finding import FAIL, OK, WARN, Finding

#: What the Azure half of azdistill imports.
_NEEDED = ("azure-ai-ml", "azure-identity", "azureml-mlflow")
_LEAST_PYTHON = (3, 11)
_SMALL_DISK = 5e9
_DOCKER_SECONDS = 20


def look(folder: Path) -> Iterator[Finding]:
    """Everything about this machine; ``folder`` is where runs keep their state."""
    yield python()
    yield from packages()
    yield mlflow_pin()
    yield disk(folder)
    yield docker()


def python() -> Finding:
    """The interpreter."""
    interpreter = f"{platform.python_version()} on {platform.system()}"
    if sys.version_info < _LEAST_PYTHON:
        return Finding("python", FAIL, interpreter, "azdistill needs Python 3.11 or newer", 3)
    return Finding("python", OK, interpreter, exit_code=3)


def packages() -> Iterator[Finding]:
    """Whether what talks to Azure is installed."""
    versions = {name: _version(name) for name in _NEEDED}
    missing = [name for name, installed in versions.items() if installed is None]
    if missing:
        todo = f"pip install {' '.join(missing)}"
        yield Finding("packages", FAIL, f"not installed: {', '.join(missing)}", todo, 3)
        return
    yield Finding("packages", OK, ", ".join(f"{name} {installed}" for name, installed in versions.items()), exit_code=3)


def mlflow_pin() -> Finding:
    """Whether azureml-mlflow fits the installed MLflow: asked for a newer one, pip picks an old, broken plug-in."""
    plugin, mlflow = _version("azureml-mlflow"), _version("mlflow-skinny") or _version("mlflow")
    if plugin is None or mlflow is None:
        return Finding("mlflow", WARN, "mlflow or azureml-mlflow is not installed", "pip install azureml-mlflow", 3)
    todo = ""
    newest = _cap("azureml-mlflow", "mlflow-skinny")
    if newest is not None and _numbers(mlflow) > _numbers(newest):
        todo = f"pip install 'mlflow<={newest}': azureml-mlflow {plugin} takes none newer"
    elif _numbers(plugin) < (1, 62):
        todo = "pip install 'azureml-mlflow>=1.62' 'mlflow<=3.15.0': older plug-ins fail to log artifacts with MLflow 3"
    return Finding("mlflow", FAIL if todo else OK, f"mlflow {mlflow}, azureml-mlflow {plugin}", todo, 3)


def disk(folder: Path) -> Finding:
    """Room for runs and caches."""
    path = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(path).free
    todo = "azdistill cache prune gives some back" if free < _SMALL_DISK else ""
    return Finding("disk", WARN if todo else OK, f"{free / 1e9:.0f} GB free at {path}", todo, 3)


def docker() -> Finding:
    """The local Docker, which only ``run --runner docker`` needs."""
    program = shutil.which("docker")
    if program is None:
        return Finding("docker", WARN, "not installed", "only `azdistill run --runner docker` needs it", 3)
    command = [program, "version", "--format", "{{.Server.Version}}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_DOCKER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("docker", WARN, f"does not answer: {error}", "start Docker", 3)
    if answer.returncode or not answer.stdout.strip():
        first = next(iter(answer.stderr.strip().splitlines()), "its engine does not answer")
        return Finding("docker", WARN, first, "start Docker, or join its group", 3)
    return Finding("docker", OK, answer.stdout.strip(), exit_code=3)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cap(package: str, of: str) -> str | None:
    """The newest version of ``of`` that ``package`` says it takes; None where it sets no such limit."""
    for requirement in requires(package) or ():
        name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        if name.lower().replace("_", "-") == of and (limit := re.search(r"<=\s*([\d.]+)", requirement)):
            return limit[1]
    return None


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version, to compare: ``1.62.0.post6`` is (1, 62, 0)."""
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", text)[0].split("."))  # type: ignore[index]
