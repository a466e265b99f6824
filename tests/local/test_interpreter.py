"""What an interpreter says of itself is remembered for as long as it would say the same."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest

from azdistill.local.run import interpreter
from azdistill.local.run.interpreter import find_interpreter
from azdistill.local.store.home import Home


@pytest.fixture
def home(project: Path) -> Home:
    return Home(project / ".azdistill").prepare()


def fake(folder: Path, version: str, named: Path | None = None) -> Path:
    """A program that answers as a Python of that version, which calls itself ``named``."""
    folder.mkdir()
    told = {"python": version, "distributions": [], "folders": [], "executable": str(named or folder / "python")}
    (folder / "python").write_text(f"#!/bin/sh\necho '{json.dumps(told, ensure_ascii=False)}'\n")
    (folder / "python").chmod(0o755)
    return folder / "python"


def test_a_link_that_was_moved_is_asked_again(home: Home, project: Path) -> None:
    link = project / "python"
    for version in ("3.10.13", "3.9.18"):
        link.unlink(missing_ok=True)
        link.symlink_to(fake(project / version, version))
        assert find_interpreter(home, str(link)).fingerprint["python"] == version


def test_a_script_is_asked_again_when_the_python_that_it_starts_is_another(home: Home, project: Path) -> None:
    script, link = project / "python", project / "link"
    script.write_text(f'#!/bin/sh\nexec "{link}" "$@"\n')
    script.chmod(0o755)
    for version in ("3.10.13", "3.9.18"):
        link.unlink(missing_ok=True)
        link.symlink_to(fake(project / version, version, link))
        assert find_interpreter(home, str(script)).fingerprint["python"] == version


def test_nothing_is_asked_twice_and_places_are_in_no_fingerprint(
    home: Home, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake(project / "3.9", "3.9.1")
    first = find_interpreter(home, str(made))
    monkeypatch.setattr(interpreter, "_probe", lambda executable: pytest.fail("asked again"))
    assert find_interpreter(home, str(made)) == first
    assert first.fingerprint == {"python": "3.9.1", "distributions": []}


def test_packages_of_the_user_count_as_a_step_sees_them(
    home: Home, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python: str = sys._base_executable  # type: ignore[attr-defined]
    (project / "json.py").write_text("raise SystemExit('the folder of the caller is no part of it')\n")

    def installed() -> bool:
        return "mine-1.0" in find_interpreter(home, python).fingerprint["distributions"]

    monkeypatch.setenv("HOME", str(project / "me"))
    assert not installed()
    scheme, base = sysconfig.get_preferred_scheme("user"), str(project / "me" / ".local")
    (Path(sysconfig.get_path("purelib", scheme, {"userbase": base})) / "mine-1.0.dist-info").mkdir(parents=True)
    assert installed()


def test_another_home_is_another_user(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake(project / "3.9", "3.9.1")
    find_interpreter(home, str(made))
    asked: list[Path] = []
    probe = interpreter._probe
    monkeypatch.setattr(interpreter, "_probe", lambda executable: asked.append(executable) or probe(executable))
    find_interpreter(home, str(made))
    monkeypatch.setenv("HOME", str(project / "another"))
    find_interpreter(home, str(made))
    assert asked == [made]


def test_what_is_asked_sees_no_keys(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEACHER_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "canary-4711")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary-4711@proxy.example")
    python = fake(project / "bin", "3.12.0")
    python.write_text(python.read_text() + f"env > '{project}/seen'\n")
    find_interpreter(home, str(python))
    seen = (project / "seen").read_text()
    assert "PATH=" in seen
    assert "canary-4711" not in seen


def test_the_settings_of_a_virtual_environment_count(
    home: Home, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base: str = sys._base_executable  # type: ignore[attr-defined]
    (project / "env" / "bin").mkdir(parents=True)
    python, settings = project / "env" / "bin" / "python", project / "env" / "pyvenv.cfg"
    python.symlink_to(base)
    monkeypatch.setenv("PYTHONUSERBASE", str(project / "me"))
    scheme = sysconfig.get_preferred_scheme("user")
    mine = Path(sysconfig.get_path("purelib", scheme, {"userbase": str(project / "me")}))
    (mine / "mine-1.0.dist-info").mkdir(parents=True)
    seen = []
    for value in ("false", "true"):
        settings.write_text(f"home = {Path(base).parent}\ninclude-system-site-packages = {value}\n")
        seen.append("mine-1.0" in find_interpreter(home, str(python)).fingerprint["distributions"])
    assert seen == [False, True]
