"""Images: what an environment is made of decides what is built, and nothing is built twice."""

import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
from built_images import removed_when_over

from azdistill.aml.models import Environment
from azdistill.aml.source import Source, Where
from azdistill.errors import Interrupted, MachineError, UserError
from azdistill.local.runners.base import Cancellation
from azdistill.local.runners.docker import images as images_module
from azdistill.local.runners.docker.engine import Engine
from azdistill.local.runners.docker.images import Context, Images, Settings, _mapped, _split


def environment(**fields: Any) -> Environment:
    return Environment(where=Where(Source("env.yml", Path("."), {}), ()), **fields)


@pytest.fixture
def folder(tmp_path: Path, image: str) -> Path:
    (tmp_path / "Dockerfile").write_text(f"ARG BASE={image}\nFROM ${{BASE}}\nCOPY made /made\nENV MADE=yes\n")
    (tmp_path / "made").write_text("one\n")
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def images(engine: Engine, said: list[str]) -> Iterator[Images]:
    with removed_when_over(engine):
        yield Images(engine, Settings(), said.append)


@pytest.fixture
def again(engine: Engine, images: Images, said: list[str]) -> Images:
    """The images of another run."""
    return Images(engine, Settings(), said.append)


def test_a_file_of_a_build_context_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    monkeypatch.setattr(images_module, "_bytes", lambda content: reads.append(content) or content)
    archive = Context({"Dockerfile": b"FROM x", "a": b"rows"}, "Dockerfile", {}).archive()
    with tarfile.open(fileobj=archive) as tar:
        assert tar.extractfile("a").read() == b"rows"
    assert len(reads) == 2


def test_an_image_that_is_here_is_taken_as_it_is(images: Images, image: str, said: list[str]) -> None:
    assert images.identity(environment(image=image), "a").startswith("sha256:")
    assert said == []


def test_a_context_is_built_once_and_again_when_it_changes(
    images: Images, again: Images, folder: Path, said: list[str]
) -> None:
    first = images.identity(environment(build_path=folder), "a")
    assert any(line.startswith("building") for line in said)
    said.clear()
    assert images.identity(environment(build_path=folder), "b") == first
    assert said == []
    (folder / "made").write_text("two\n")
    assert again.identity(environment(build_path=folder), "c") != first


class Registry:
    """An engine's API with one image that is pulled, by a build too, when it is asked for; it counts what is built."""

    def __init__(self) -> None:
        self.here: dict[str, str] = {}
        self.built = 0

    def inspect_image(self, name: str) -> dict[str, str]:
        if name not in self.here:
            raise docker.errors.ImageNotFound(name)
        return {"Id": self.here[name]}

    def pull(self, repository: str, tag: str, **_: object) -> list[dict[str, str]]:
        if repository != "base":
            return [{"error": "no such image"}]
        self.here[f"{repository}:{tag}"] = "sha256:base"
        return []

    def build(self, tag: str, **_: object) -> list[dict[str, str]]:
        self.built += 1
        self.pull("base", "1")
        self.here[tag] = f"sha256:{self.built}"
        return []

    def images(self) -> Images:
        """Of one run."""
        engine: Any = SimpleNamespace(api=self, connection=lambda begun: self)
        return Images(engine, Settings(), lambda line: None)


def test_a_base_that_is_not_here_yet_makes_no_second_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base:1 AS one\nFROM one\nFROM nowhere.invalid/x\nFROM scratch\n")
    registry = Registry()
    ids = [registry.images().identity(environment(build_path=tmp_path), "a") for _ in range(2)]
    assert (ids, registry.built) == (["sha256:1", "sha256:1"], 1)


def test_a_step_runs_in_the_image_that_its_key_names_whatever_changes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base:1\n")
    registry = Registry()
    images = registry.images()
    first = images.identity(environment(build_path=tmp_path), "a")
    (tmp_path / "made").write_text("two\n")
    assert images.identity(environment(build_path=tmp_path), "a") == first
    assert images.known(environment(build_path=tmp_path), "b") == first
    assert registry.images().identity(environment(build_path=tmp_path), "a") != first


def test_a_dockerfile_may_be_written_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    for folder in (tmp_path, tmp_path / "context"):
        (folder / "Dockerfile").write_text("FROM base:1\n")
    registry, build_path = Registry(), tmp_path / "context"
    for path in ("Dockerfile", "./Dockerfile", "x/../Dockerfile"):
        wanted = environment(build_path=build_path, dockerfile_path=path)
        assert registry.images().identity(wanted, "a") == "sha256:1"
    for path in ("../Dockerfile", str(tmp_path / "Dockerfile")):
        with pytest.raises(UserError, match=r"there is no .*Dockerfile in "):
            registry.images().identity(environment(build_path=build_path, dockerfile_path=path), "a")


def test_what_dockerignore_names_changes_nothing(images: Images, again: Images, folder: Path) -> None:
    (folder / ".dockerignore").write_text("notes\n")
    first = images.identity(environment(build_path=folder), "a")
    (folder / "notes").write_text("anything")
    assert again.identity(environment(build_path=folder), "a") == first


def test_a_build_that_fails_says_what_it_printed(images: Images, folder: Path) -> None:
    with open(folder / "Dockerfile", "a") as file:
        file.write("RUN echo it is broken here && exit 7\n")
    with pytest.raises(MachineError, match=r"(?s)returned a non-zero code: 7.*it is broken here"):
        images.identity(environment(build_path=folder), "a")


def test_a_build_ends_when_the_run_is_canceled_and_no_image_is_looked_for_after_it(
    engine: Engine, image: str, folder: Path
) -> None:
    with open(folder / "Dockerfile", "a") as file:
        file.write("RUN sleep 47.11\n")
    cancellation, lines = Cancellation(), []

    def say(line: str) -> None:
        lines.append(line)
        if "Running in" in line:
            cancellation.ask()

    images = Images(engine, Settings(), say, cancellation)
    for wanted in (environment(build_path=folder), environment(image=image)):
        with pytest.raises(Interrupted):
            images.identity(wanted, "a")
    assert "Running in" in lines[-1]
    running = lines[-1].split()[-1]
    until = time.monotonic() + 20
    while any(each["Id"].startswith(running) for each in engine.api.containers()) and time.monotonic() < until:
        time.sleep(0.05)
    assert time.monotonic() < until


def test_an_engine_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    registry, cancellation, silence = Registry(), Cancellation(), threading.Event()

    def pull(*_: object, **__: object) -> list[dict[str, str]]:
        cancellation.ask()
        silence.wait()
        return []

    silent: Any = SimpleNamespace(inspect_image=registry.inspect_image, pull=pull)
    engine: Any = SimpleNamespace(api=silent, connection=lambda begun: silent)
    with pytest.raises(Interrupted):
        Images(engine, Settings(), lambda line: None, cancellation).identity(environment(image="base:1"), "a")
    silence.set()


def test_an_environment_that_is_only_a_name_needs_a_line_of_its_own(
    engine: Engine, images: Images, image: str, folder: Path
) -> None:
    with pytest.raises(UserError, match="no image is known here for environment azureml:mine:3") as caught:
        images.identity("azureml:mine:3", "a")
    assert "local.environments" in caught.value.hint
    mapped = Images(engine, Settings(instead={"azureml:mine": image}), print)
    assert mapped.identity("azureml:mine:3", "a") == images.identity(environment(image=image), "a")


@pytest.mark.parametrize("written", ["nowhere.invalid/python", "nowhere.invalid/python:3.11"])
def test_another_image_may_stand_for_one_that_cannot_be_had(
    engine: Engine, images: Images, image: str, written: str
) -> None:
    mapped = Images(engine, Settings(instead={"nowhere.invalid/python": image}), print)
    assert mapped.identity(environment(image=written), "a") == images.identity(environment(image=image), "a")


def test_a_conda_file_is_never_left_out_for_a_mapped_image(engine: Engine, image: str) -> None:
    mapped = Images(engine, Settings(instead={"nowhere.invalid/python": image}), print)
    wanted = environment(image="nowhere.invalid/python", conda_file={"name": "e", "dependencies": ["python"]})
    assert mapped.known(wanted, "a") == ""


def test_a_dockerfile_that_is_missing_is_the_users_matter(images: Images, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no Dockerfile"):
        images.identity(environment(build_path=tmp_path), "a")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("azureml:mine:3", "x"),
        ("azureml:mine@latest", "x"),
        ("azureml://registries/r/environments/e/versions/5", "y"),
        ("azureml://registries/r/environments/e/labels/latest", "y"),
        ("azureml:other:1", None),
    ],
)
def test_a_line_without_a_version_stands_for_all(reference: str, expected: str | None) -> None:
    assert _mapped(reference, {"azureml:mine": "x", "azureml://registries/r/environments/e": "y"}) == expected


def test_bases_are_found_through_build_arguments() -> None:
    text = b'ARG BASE_IMAGE="python:3.11"\nFROM ${BASE_IMAGE} AS one\nFROM --platform=linux/amd64 $OTHER\n'
    context = Context({"Dockerfile": text}, "Dockerfile", {"OTHER": "debian:12"})
    assert context.bases() == ["python:3.11", "debian:12"]


def test_a_stage_is_a_base_only_before_it_is_named() -> None:
    text = b"FROM python:3 AS Python\nFROM scratch\nFROM python\nfrom base as base\nFROM base\nFROM ${NONE:-debian}\n"
    assert Context({"Dockerfile": text}, "Dockerfile", {}).bases() == ["python:3", "base", "debian"]


def test_words_of_other_instructions_are_no_bases() -> None:
    text = (
        b'FROM \\\n  # a comment\n  python:3\nRUN python -c "\\\nfrom sklearn import x"\n'
        b"RUN <<EOF\nfrom torch import y\nEOF\n# FROM nothing\nCOPY <<-'A' /b\nFROM none\n  A\nFROM debian\n"
    )
    assert Context({"Dockerfile": text}, "Dockerfile", {}).bases() == ["python:3", "debian"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python", ("python", "latest")),
        ("python:3.11", ("python", "3.11")),
        ("mcr.microsoft.com:443/a/b:c", ("mcr.microsoft.com:443/a/b", "c")),
        ("a/b@sha256:00", ("a/b@sha256:00", None)),
    ],
)
def test_names_of_images(name: str, expected: tuple[str, str | None]) -> None:
    assert _split(name) == expected
