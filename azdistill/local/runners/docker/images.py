"""The image that a step's environment stands for: found by what it is made of, built where the engine has none yet.

An environment is an image as it is, an image with a conda file, or a build context. What is built is tagged with the
hash of all that goes into it (context, Dockerfile, build arguments, the ids of the images it starts from, which are
pulled first), so that nothing is built twice and nothing stale is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import queue
import re
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from azdistill.aml.environments import IMAGE_HINT, is_image
from azdistill.aml.models import Environment
from azdistill.errors import Interrupted, MachineError, UserError
from azdistill.local.runners.base import Cancellation
from azdistill.local.runners.docker.engine import Engine, engine_errors
from azdistill.local.store.durable_files import digest, walk_files

REPOSITORY = "azdistill-environment"
_DOCKERIGNORE = ".dockerignore"
_IDENTITY = re.compile(r"sha256:[0-9a-f]{12,64}")
_POLL = 0.1
Answer = Mapping[str, Any]
#: conda is what Azure ML builds such environments with; an image that has none gets an error that says so.
_CONDA_DOCKERFILE = """\
FROM {image}
USER root
COPY conda.yml /tmp/conda.yml
RUN conda env create --quiet --prefix /azureml-envs/azdistill --file /tmp/conda.yml && rm /tmp/conda.yml
ENV PATH=/azureml-envs/azdistill/bin:$PATH HOME=/tmp
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How images are made here. ``arguments`` are build arguments by environment name (``*``: of all); ``network`` is
    the network that a build uses; ``instead`` maps a reference (``azureml:name:version``, or without the version, or
    ``azureml://registries/...``) or an image's name to an image of this machine or a folder with a Dockerfile.
    """

    arguments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    network: str | None = None
    instead: Mapping[str, str | Path] = field(default_factory=dict)


NAME_ONE = "name one under local.environments in azdistill.yml: an image, or a folder with a Dockerfile"


def unnamed(environment: str | Environment | None, step: str) -> str:
    """What is said of an environment that no image is known for."""
    return f"step '{step}': no image is known here for environment {environment or '(none)'}"


class Images:
    """The images of one run: each environment is looked at once, and is the same image for every step from then on.

    ``say`` is told, line by line, what a build prints. When the run is canceled a build or pull is ended, and no other
    begun.
    """

    def __init__(
        self, engine: Engine, settings: Settings, say: Callable[[str], None], cancellation: Cancellation | None = None
    ) -> None:
        self._engine, self._settings, self._say = engine, settings, say
        self._cancellation = cancellation or Cancellation()
        self._lock = threading.Lock()
        self._images: list[tuple[str | Environment | None, str]] = []

    def identity(self, environment: str | Environment | None, step: str) -> str:
        """The id (``sha256:...``) of the image for ``environment``, which is built or pulled where it is not there.

        UserError for an environment that names no image here, MachineError for one that cannot be built or pulled,
        Interrupted in a run that is canceled.
        """
        return self._once(environment, lambda: self._identity(self._made_of(environment, step)))

    def known(self, environment: str | Environment | None, step: str) -> str:
        """The id of the image if the engine has it already, else an empty text; nothing is built or pulled."""
        return self._once(environment, lambda: self._known(self._made_of(environment, step)))

    def _once(self, environment: str | Environment | None, find: Callable[[], str]) -> str:
        with self._lock:
            _refuse_canceled(self._cancellation)
            # Compared, not hashed: what an environment holds may be a mapping. There are few.
            for earlier, image in self._images:
                if earlier == environment:
                    return image
            if image := find():
                self._images.append((environment, image))
            return image

    def _identity(self, source: str | Context) -> str:
        if isinstance(source, str):
            return self._present(source) or self._pull(source)
        # The build would pull what it starts from, and the tag would not be the same the next time.
        for base in source.bases():
            with contextlib.suppress(MachineError):  # The build tells why, or finds it in a way of its own.
                self._present(base) or self._pull(base)
        tag = source.tag(self._present)
        return self._present(tag) or self._build(source, tag)

    def _known(self, source: str | Context) -> str:
        return self._present(source if isinstance(source, str) else source.tag(self._present))

    def is_named(self, environment: str | Environment | None) -> bool:
        """Whether an image is known to stand for an environment; whether it can be had is another question."""
        return isinstance(environment, Environment) or bool(_mapped(_reference(environment), self._settings.instead))

    def _made_of(self, environment: str | Environment | None, step: str) -> str | Context:
        if image := _mapped(_reference(environment), self._settings.instead):
            return _folder(image, "Dockerfile", self._arguments("*")) if isinstance(image, Path) else _named(image)
        if isinstance(environment, Environment):
            return self._declared(environment)
        raise UserError(unnamed(environment, step), code="AZD396", hint=NAME_ONE)

    def _declared(self, environment: Environment) -> str | Context:
        arguments = self._arguments(environment.name or "*")
        if environment.build_path:
            return _folder(environment.build_path, environment.dockerfile_path, arguments)
        assert environment.image
        if environment.conda_file is None:
            return _named(environment.image)
        conda = environment.conda_file
        text = conda.read_text(encoding="utf-8") if isinstance(conda, Path) else yaml.safe_dump(dict(conda))
        dockerfile = _CONDA_DOCKERFILE.format(image=_named(environment.image))
        return Context({"Dockerfile": dockerfile.encode(), "conda.yml": text.encode()}, "Dockerfile", {})

    def _arguments(self, name: str) -> dict[str, str]:
        return {**self._settings.arguments.get("*", {}), **self._settings.arguments.get(name, {})}

    def _present(self, name: str) -> str:
        from docker.errors import ImageNotFound

        with engine_errors(f"looking for image {name}"):
            try:
                return str(self._engine.api.inspect_image(name)["Id"])
            except ImageNotFound:
                return ""

    def _pull(self, name: str) -> str:
        self._say(f"pulling {name}")
        repository, tag = _split(name)
        with engine_errors(f"pulling {name}"):
            self._follow(lambda api: api.pull(repository, tag=tag, stream=True, decode=True), f"pulling {name}")
        return self._present(name)

    def _build(self, context: Context, tag: str) -> str:
        self._say(f"building {tag}")
        with engine_errors(f"building {tag}"):
            self._follow(lambda api: api.build(**self._order(context, tag)), f"building {tag}")
        return self._present(tag)

    def _order(self, context: Context, tag: str) -> dict[str, Any]:
        return {
            "fileobj": context.archive(),
            "custom_context": True,
            "dockerfile": context.dockerfile,
            "tag": tag,
            "buildargs": dict(context.arguments),
            "network_mode": self._settings.network,
            "labels": {"azdistill.environment": tag},
            "rm": True,
            "forcerm": True,
            "decode": True,
        }

    def _follow(self, ask: Callable[[Any], Iterable[Answer]], doing: str) -> None:
        last: list[str] = []
        for answer in _engine_answers(self._engine, ask, self._cancellation):
            if text := str(answer.get("stream") or "").rstrip():
                last = [*last[-19:], text]
                self._say(text)
            if error := answer.get("error"):
                tail = "\n".join(last)
                raise MachineError(f"Docker, while {doing}: {str(error).strip()}\n{tail}", code="AZD397")


@dataclass(frozen=True, slots=True)
class Context:
    """What an image is built from: files by their path (bytes, or where they lie), the Dockerfile's path among them."""

    files: Mapping[str, bytes | Path]
    dockerfile: str
    arguments: Mapping[str, str]

    def tag(self, identity: Callable[[str], str]) -> str:
        """A name that holds the hash of everything that decides what is built; ``identity`` gives a base image's id."""
        marks = {name: _mark(content) for name, content in sorted(self.files.items())}
        bases = {name: identity(name) for name in self.bases()}
        return f"{REPOSITORY}:{digest([marks, self.dockerfile, dict(self.arguments), bases])[:32]}"

    def bases(self) -> list[str]:
        """The images that the Dockerfile starts from, its build arguments filled in, and not its own stages."""
        text = "\n".join(_instructions(_bytes(self.files[self.dockerfile]).decode("utf-8", "replace")))
        values = dict(re.findall(r"(?im)^\s*ARG\s+(\w+)=\s*\"?([^\s\"]+)\"?\s*$", text)) | dict(self.arguments)
        lines = re.findall(r"(?im)^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", text)
        argument = r"\$\{?(\w+)(?::-([^}]*))?\}?"
        named = [re.sub(argument, lambda match: values.get(match[1]) or match[2] or "", name) for name, _ in lines]
        stages = [stage.lower() for _, stage in lines]
        return [name for at, name in enumerate(named) if name.lower() not in ("", "scratch", *stages[:at])]

    def archive(self) -> io.BytesIO:
        """The files as the tar that the engine takes. Times and owners are left out: they are nobody's matter."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in sorted(self.files.items()):
                data, entry = _bytes(content), tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o755 if _executable(content) else 0o644
                tar.addfile(entry, io.BytesIO(data))
        archive.seek(0)
        return archive


def _instructions(text: str) -> Iterator[str]:
    """The instructions of a Dockerfile, each on one line, without comments and the bodies of here-documents."""
    lines = iter(text.splitlines())
    for line in lines:
        while line.rstrip().endswith("\\"):
            # A comment between the lines of an instruction is none of it.
            following = next((each for each in lines if not each.lstrip().startswith("#")), "")
            line = f"{line.rstrip()[:-1]} {following}"
        if not line.lstrip().startswith("#"):
            yield line
        for end in re.findall(r"<<-?\s*[\"']?(\w+)", line) if re.match(r"\s*(RUN|COPY|ADD)\b", line, re.I) else ():
            next((each for each in lines if each.strip() == end), None)


def _named(image: str) -> str:
    """The name of an image; a UserError for what can be none, which an engine would only call invalid."""
    # An id of an image is no name, and is as good as one here.
    if not (is_image(image) or _IDENTITY.fullmatch(image)):
        raise UserError(f"'{image}' is no name for an image", code="AZD115", hint=IMAGE_HINT)
    return image


def _folder(folder: Path, dockerfile: str, arguments: Mapping[str, str]) -> Context:
    # As the files are spelt: ./Dockerfile is Dockerfile.
    dockerfile = os.path.normpath(dockerfile)
    files: dict[str, bytes | Path] = {}
    ignored = _ignored(folder)
    for name, path in walk_files(folder) if folder.is_dir() else ():
        if name == dockerfile or not ignored(name):
            files[name] = path
    if dockerfile not in files:
        raise UserError(f"there is no {dockerfile} in {folder}", code="AZD398")
    return Context(files, dockerfile, arguments)


def _ignored(folder: Path) -> Callable[[str], bool]:
    from docker.utils.build import PatternMatcher

    path = folder / _DOCKERIGNORE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    matcher = PatternMatcher([line.strip() for line in lines if line.strip() and not line.startswith("#")])
    return lambda name: bool(lines) and bool(matcher.matches(name))


def _bytes(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _mark(content: bytes | Path) -> str:
    return f"{hashlib.sha256(_bytes(content)).hexdigest()}{'x' if _executable(content) else ''}"


def _executable(content: bytes | Path) -> bool:
    return isinstance(content, Path) and bool(content.stat().st_mode & 0o100)


def _reference(environment: str | Environment | None) -> str:
    """What another image may stand for: a registered environment, or an image that is all of the environment."""
    if isinstance(environment, Environment):
        return "" if environment.conda_file else environment.image or ""
    return environment or ""


def _mapped(reference: str, instead: Mapping[str, str | Path]) -> str | Path | None:
    """What stands for a reference here: its own line, or the line of its name without a version."""
    bare = re.sub(r"(/versions/[^/]+|/labels/[^/]+|@[^/@]+|:[^:/@]+)$", "", reference)
    return instead.get(reference) or instead.get(bare)


def _split(name: str) -> tuple[str, str | None]:
    """Repository and tag of an image name; a digest stays with the repository."""
    head, _, last = name.rpartition("/")
    if "@" in last:
        return name, None
    repository, _, tag = last.partition(":")
    return (f"{head}/{repository}" if head else repository), tag or "latest"


def _engine_answers(
    engine: Engine, ask: Callable[[Any], Iterable[Answer]], cancellation: Cancellation
) -> Iterator[Answer]:
    """What ``ask`` gets from a connection of its own.

    Interrupted when the run is canceled: the connection is hung up, at which the engine leaves off as well.
    """
    from docker.types import CancellableStream

    inbox: queue.SimpleQueue[Answer | BaseException | None] = queue.SimpleQueue()
    responses: list[Any] = []
    connection = engine.connection(responses.append)
    # Read by another thread, because an engine may be silent for long.
    reader = threading.Thread(target=_read, args=(lambda: ask(connection), inbox.put), daemon=True)
    reader.start()
    try:
        while (answer := _next(inbox, cancellation)) is not None:
            yield answer
    finally:
        if responses and reader.is_alive():
            # It may end by itself at this very moment, and has no socket then.
            with contextlib.suppress(OSError, AttributeError):
                CancellableStream(None, responses[-1]).close()


def _refuse_canceled(cancellation: Cancellation) -> None:
    """Raise Interrupted if the run is canceled."""
    if cancellation.asked.is_set():
        raise Interrupted("the run was interrupted", code="AZD371")


def _read(ask: Callable[[], Iterable[Answer]], put: Callable[[Answer | BaseException | None], None]) -> None:
    try:
        for answer in ask():
            put(answer)
        put(None)
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that follows
        put(error)


def _next(inbox: queue.SimpleQueue[Answer | BaseException | None], cancellation: Cancellation) -> Answer | None:
    while True:
        _refuse_canceled(cancellation)
        with contextlib.suppress(queue.Empty):
            answer = inbox.get(timeout=_POLL)
            if isinstance(answer, BaseException):
                raise answer
            return answer
