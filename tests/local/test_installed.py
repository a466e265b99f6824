"""What is installed counts by its content where no version tells it: editable, from a folder, by a .pth, by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill.local.cache.explain import explain
from azdistill.local.in_step import installed_probe
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run import installed, interpreter
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]

PYTHON: str = sys._base_executable  # type: ignore[attr-defined]
FINDER = """\
import sys
from importlib.util import spec_from_file_location
MAPPING = {MAPPING}
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            return spec_from_file_location(name, MAPPING[name] + "/__init__.py")
def install():
    sys.meta_path.append(Finder)
"""


@pytest.fixture
def packages(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own packages."""
    base = project / "me"
    monkeypatch.setenv("PYTHONUSERBASE", str(base))
    scheme = sysconfig.get_preferred_scheme("user")
    folder = Path(sysconfig.get_path("purelib", scheme, {"userbase": str(base)}))
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def version(run: Run) -> Callable[[], tuple[str, str]]:
    """Runs a step that prints ``mylib.V``: what became of it, and what it printed."""

    def see() -> tuple[str, str]:
        show = "python -c 'import mylib; print(mylib.V)' > '${{outputs.o}}'"
        finished = run({"a": step(show, outputs=("o",))}, options=Options(python=PYTHON))
        (status,) = statuses(finished).values()
        return status, Path(finished.state.steps["a"].outputs["o"]).read_text().strip()

    return see


def why() -> str:
    """Why the last run's step ran."""
    runs = list_runs(find_home())
    return explain(find_home(), runs[0], "a", runs).reason


def package(folder: Path, value: str) -> None:
    """The package ``mylib`` in a folder."""
    (folder / "mylib").mkdir(parents=True, exist_ok=True)
    # Python takes a module of equal size and of the same second for the one that it compiled.
    shutil.rmtree(folder / "mylib" / "__pycache__", ignore_errors=True)
    (folder / "mylib" / "__init__.py").write_text(f"V = '{value}'\n")


def distribution(packages: Path, *, editable: bool, files: tuple[str, ...], origin: Path) -> None:
    """Say that ``mylib`` 1.0 is installed from ``origin``, and which files of it lie beside."""
    info = packages / "mylib-1.0.dist-info"
    info.mkdir(exist_ok=True)
    direct = {"url": origin.as_uri(), "dir_info": {"editable": True} if editable else {}}
    (info / "direct_url.json").write_text(json.dumps(direct))
    hashes = {name: hashlib.sha256((packages / name).read_bytes()).hexdigest() for name in files}
    (info / "RECORD").write_text("".join(f"{name},sha256={sha},1\n" for name, sha in hashes.items()))


def by_hand(project: Path, packages: Path) -> Path:
    (packages / "mine.pth").write_text(f"{project / 'lib'}\n")
    return project / "lib"


def beside(project: Path, packages: Path) -> Path:
    return packages


def editable_by_path(project: Path, packages: Path) -> Path:
    (packages / "_editable_impl_mylib.pth").write_text(f"{project / 'src'}\n")
    distribution(packages, editable=True, files=("_editable_impl_mylib.pth",), origin=project)
    return project / "src"


def editable_by_hook(project: Path, packages: Path) -> Path:
    mapping = {"mylib": str(project / "flat" / "mylib")}
    (packages / "__editable___mylib_finder.py").write_text(FINDER.replace("{MAPPING}", repr(mapping)))
    (packages / "__editable__.mylib.pth").write_text("import __editable___mylib_finder as m; m.install()\n")
    files = ("__editable___mylib_finder.py", "__editable__.mylib.pth")
    distribution(packages, editable=True, files=files, origin=project)
    return project / "flat"


def editable_by_a_hook_that_nobody_knows(project: Path, packages: Path) -> Path:
    (packages / "_mylib.pth").write_text(f"import sys; sys.path.append({str(project / 'all')!r})\n")
    distribution(packages, editable=True, files=("_mylib.pth",), origin=project / "all")
    return project / "all"


def added_by_a_line(project: Path, packages: Path) -> Path:
    (packages / "line.pth").write_text(f"import sys; sys.path.append({str(project / 'lib')!r})\n")
    return project / "lib"


@pytest.mark.parametrize(
    ("install", "label"),
    [
        (by_hand, "mine.pth"),
        (beside, "mylib"),
        (editable_by_path, "mylib-1.0"),
        (editable_by_hook, "mylib-1.0"),
        (editable_by_a_hook_that_nobody_knows, "mylib-1.0"),
        (added_by_a_line, "sys.path"),
    ],
)
def test_what_no_version_tells_counts_by_its_content(
    version: Callable[[], tuple[str, str]],
    project: Path,
    packages: Path,
    install: Callable[[Path, Path], Path],
    label: str,
) -> None:
    folder = install(project, packages)
    package(folder, "one")
    assert [version(), version()] == [("completed", "one"), ("cached", "one")]
    package(folder, "two")
    assert version() == ("completed", "two")
    assert why() == f"the installed {label} is not what it was"
    (folder / "mylib" / "data.json").write_text("{}")
    assert version() == ("completed", "two")
    package(folder, "one")
    (folder / "mylib" / "data.json").unlink()
    assert version() == ("cached", "one")


def test_the_same_version_from_a_folder_counts_by_what_was_installed(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    for value in ("one", "two"):
        package(packages, value)
        distribution(packages, editable=False, files=("mylib/__init__.py",), origin=project)
        # As an installer leaves it: what it replaces is removed first.
        (packages / "mylib-1.0.dist-info").rename(packages / "away")
        (packages / "away").rename(packages / "mylib-1.0.dist-info")
        assert version() == ("completed", value)
    assert why() == "the installed mylib-1.0 is not what it was"
    assert version() == ("cached", "two")


def test_what_lies_beside_an_editable_package_does_not_count(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    """The pipelines of a project lie beside its package; to change one is no reason to run all."""
    package(editable_by_path(project, packages), "one")
    assert version() == ("completed", "one")
    (project / "src" / "train.py").write_text("")
    (project / "src" / "mylib" / "__pycache__").mkdir(exist_ok=True)
    (project / "src" / "mylib" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert version() == ("cached", "one")


def test_a_module_and_a_package_without_a_file_of_its_own_count(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    folder = by_hand(project, packages)
    (folder / "more" / "inner").mkdir(parents=True)
    (folder / "mylib.py").write_text("from more import V\n")
    # Of unequal size, so that Python compiles the second within the same second.
    for value in ("one", "second"):
        (folder / "more" / "__init__.py").unlink(missing_ok=True)
        (folder / "mylib.py").write_text("from more.part import V\n")
        (folder / "more" / "part.py").write_text(f"V = '{value}'\n")
        assert version() == ("completed", value)
    (folder / "mylib.py").write_text("V = 'three'\n")
    assert version() == ("completed", "three")
    (folder / "notes.txt").write_text("nobody imports it")
    assert version() == ("cached", "three")


def test_where_a_package_was_installed_does_not_count(project: Path, packages: Path) -> None:
    package(packages, "one")
    distribution(packages, editable=False, files=("mylib/__init__.py",), origin=project)
    before = installed_probe.Package(str(packages), "mylib-1.0.dist-info").content()
    with open(packages / "mylib-1.0.dist-info" / "RECORD", "a") as record:
        record.write("../../../bin/mylib,sha256=of-its-first-line,9\nmylib/__pycache__/__init__.pyc,,\n")
        record.write("mylib-1.0.dist-info/direct_url.json,sha256=of-a-place,9\n")
    assert installed_probe.Package(str(packages), "mylib-1.0.dist-info").content() == before is not None


def test_a_package_more_is_a_change_that_is_named(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    package(packages, "one")
    distribution(packages, editable=False, files=("mylib/__init__.py",), origin=project)
    version()
    (packages / "other-1.0.dist-info").mkdir()
    assert version() == ("completed", "one")
    assert why() == "what is installed is not what it was"


def test_sources_that_stayed_the_same_are_not_read_again(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(editable_by_path(project, packages), "one")
    monkeypatch.setattr(installed, "_SETTLED", -1.0)
    version()
    monkeypatch.setattr(installed, "hash_file", lambda path: pytest.fail(f"{path} is read again"))
    monkeypatch.setattr(interpreter, "_probe", lambda executable: pytest.fail("asked again"))
    assert version() == ("cached", "one")


def test_sources_of_a_moment_ago_are_read_again(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(editable_by_path(project, packages), "one")
    monkeypatch.setattr(installed, "_SETTLED", 1e9)
    version()
    read: list[Path] = []
    hash_file = installed.hash_file
    monkeypatch.setattr(installed, "hash_file", lambda path: read.append(path) or hash_file(path))
    assert version() == ("cached", "one")
    assert [path.name for path in read] == ["__init__.py"]


def test_a_folder_that_a_pth_file_names_may_come_later(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    package(packages, "one")
    (packages / "early.pth").write_text(f"{project / 'late'}\n")
    assert version() == ("completed", "one")
    (project / "late").mkdir()
    (project / "late" / "more.py").write_text("")
    assert version() == ("completed", "one")


@pytest.mark.parametrize("content", ["no json", '["a list"]', '{"dir_info": null}', ""])
def test_what_no_installer_writes_is_passed_over(project: Path, packages: Path, content: str) -> None:
    (packages / "odd-1.0.dist-info").mkdir()
    (packages / "odd-1.0.dist-info" / "direct_url.json").write_text(content)
    (packages / "odd-1.0.dist-info" / "RECORD").write_text("a,b\n\n,\n")
    odd = installed_probe.Package(str(packages), "odd-1.0.dist-info")
    assert not odd.is_editable


def installs_another(project: Path, packages: Path) -> str:
    return f"mkdir -p '{packages}/other-1.0.dist-info'"


def installs_anew(project: Path, packages: Path) -> str:
    place = packages / "mylib-1.0.dist-info"
    return f"cp -r '{place}' '{place}.new'; rm -r '{place}'; mv '{place}.new' '{place}'"


def edits_what_is_editable(project: Path, packages: Path) -> str:
    return f"printf \"V = 'new'\" > '{project}/src/mylib/__init__.py'; rm -rf '{project}/src/mylib/__pycache__'"


def adds_a_module(project: Path, packages: Path) -> str:
    return f"mkdir -p '{project}/src/mylib/sub'; touch '{project}/src/mylib/sub/more.py'"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (installs_another, "what is installed"),
        (installs_anew, "what is installed"),
        (edits_what_is_editable, "the installed mylib-1.0"),
        (adds_a_module, "the installed mylib-1.0"),
    ],
)
def test_what_was_made_after_a_package_changed_in_the_run_is_of_that_run_only(
    run: Run, project: Path, packages: Path, change: Callable[[Path, Path], str], told: str
) -> None:
    package(editable_by_path(project, packages), "old")
    shutil.rmtree(packages / "other-1.0.dist-info", ignore_errors=True)

    def see(command: str) -> Finished:
        first = step(command, outputs=("o",))
        show = "python -c 'import mylib; print(mylib.V)' > '${{outputs.o}}'; : '${{inputs.x}}'"
        second = step(show, outputs=("o",), inputs={"x": "${{parent.jobs.first.outputs.o}}"})
        return run({"first": first, "second": second}, options=Options(python=PYTHON))

    changing = f"test -e '{project}/done' || {{ {change(project, packages)}; }}; echo > '${{{{outputs.o}}}}'"
    finished = see(changing)
    assert statuses(finished) == {"first": "completed", "second": "completed"}
    line = f"{told} was changed since the run began: its result is of this run only, not cached"
    for name in ("first", "second"):
        assert log_of(finished, name).count(line) == 1
    # As it was when that run began.
    (project / "done").touch()
    package(project / "src", "old")
    shutil.rmtree(project / "src" / "mylib" / "sub", ignore_errors=True)
    shutil.rmtree(packages / "other-1.0.dist-info", ignore_errors=True)
    again = see(changing)
    assert statuses(again) == {"first": "completed", "second": "completed"}
    assert Path(again.state.steps["second"].outputs["o"]).read_text() == "old\n"
    assert statuses(see(changing)) == {"first": "cached", "second": "cached"}


def test_what_python_compiles_for_itself_is_no_change(version: Callable[[], tuple[str, str]], packages: Path) -> None:
    (packages / "mylib.py").write_text("V = 'one'\n")
    assert [version(), version()] == [("completed", "one"), ("cached", "one")]
    assert (packages / "__pycache__").is_dir()


def test_what_is_installed_while_the_interpreter_is_asked_counts(
    version: Callable[[], tuple[str, str]], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(packages, "one")
    probe = interpreter._probe

    def probe_and_install(executable: Path) -> dict[str, Any]:
        told = probe(executable)
        (packages / "other-1.0.dist-info").mkdir(exist_ok=True)
        return told

    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "_probe", probe_and_install)
        assert version() == ("completed", "one")
    assert version() == ("cached", "one")
    shutil.rmtree(packages / "other-1.0.dist-info")
    assert version() == ("completed", "one")


@pytest.mark.parametrize("install", [by_hand, editable_by_path, editable_by_a_hook_that_nobody_knows])
@pytest.mark.parametrize("name", ["corp/tools", "l3/ns/sub"])
def test_packages_without_a_file_of_their_own_count_however_deep(
    run: Run, project: Path, packages: Path, install: Callable[[Path, Path], Path], name: str
) -> None:
    folder = install(project, packages) / name
    folder.mkdir(parents=True)
    (folder.parents[1] / "setup.cfg").touch()
    dotted = name.replace("/", ".") + ".mod"
    job = step(f"python -c 'import {dotted} as m; print(m.V)' > '${{{{outputs.o}}}}'", outputs=("o",))
    for value, expected in (("one", "completed"), ("one", "cached"), ("three", "completed")):
        (folder / "mod.py").write_text(f"V = '{value}'\n")
        finished = run({"a": job}, options=Options(python=PYTHON))
        assert statuses(finished) == {"a": expected}
        assert Path(finished.state.steps["a"].outputs["o"]).read_text().strip() == value


def test_every_folder_of_a_pth_file_counts_where_several_have_the_same_module(
    version: Callable[[], tuple[str, str]], project: Path, packages: Path
) -> None:
    for name in ("first", "second"):
        (project / name).mkdir()
        (project / name / "mylib.py").write_text("V = 'one'\n")
    (packages / "both.pth").write_text(f"{project / 'first'}\n{project / 'second'}\n")
    assert [version(), version()] == [("completed", "one"), ("cached", "one")]
    (project / "first" / "mylib.py").write_text("V = 'three'\n")
    assert version() == ("completed", "three")
    (project / "second" / "mylib.py").write_text("V = 'three'\n")
    assert version() == ("completed", "three")


def test_a_package_and_a_module_of_one_name_both_count(version: Callable[[], tuple[str, str]], packages: Path) -> None:
    package(packages, "one")
    (packages / "mylib.py").write_text("V = 'never'\n")
    assert version() == ("completed", "one")
    package(packages, "three")
    assert version() == ("completed", "three")


def test_a_package_in_two_places_counts_by_both(project: Path, packages: Path) -> None:
    package(packages, "one")
    distribution(packages, editable=False, files=("mylib/__init__.py",), origin=project)
    shutil.copytree(packages, project / "more")
    found = [installed_probe.Package(str(place), "mylib-1.0.dist-info") for place in (packages, project / "more")]
    before = installed_probe.contents_of(found)
    package(packages, "two")
    distribution(packages, editable=False, files=("mylib/__init__.py",), origin=project)
    found = [installed_probe.Package(str(place), "mylib-1.0.dist-info") for place in (packages, project / "more")]
    assert installed_probe.contents_of(found) != before
