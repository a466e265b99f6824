"""Builds environments from YAML data, written in place or in a file of their own."""

from __future__ import annotations

import re
from pathlib import Path

from azdistill.aml import reader
from azdistill.aml.fields import Fields, is_remote
from azdistill.aml.models import Environment
from azdistill.aml.source import Report, Source, Where
from azdistill.errors import SpecError, did_you_mean

#: What every asset may say of itself.
ASSET_KEYS = {"$schema", "type", "name", "version", "display_name", "description", "tags", "properties"}
#: The grammar of distribution/reference, which engines and registries share.
_WORD, _LABEL = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_IMAGE = re.compile(
    rf"(?:(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_WORD}(?:/{_WORD})*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
_LONGEST_IMAGE = 255
IMAGE_HINT = "[registry/]name[:tag], the name in lower-case letters, digits and . _ - /"
_ENVIRONMENT_KEYS = {
    *ASSET_KEYS - {"type", "display_name"},
    *("image", "conda_file", "build", "os_type", "inference_config", "datastore"),
}


def environment_of(fields: Fields, key: str) -> str | Environment | None:
    """The environment under ``key``: the reference as written, or an inline one."""
    value = fields.data.get(key)
    if isinstance(value, dict):
        return environment(fields.where / key, fields.report)
    text = fields.text(key)
    if text and not is_remote(text) and text.startswith("file:"):
        return read_environment(fields.where / key, text.removeprefix("file:"), fields.report)
    return text


def environment(where: Where, report: Report) -> Environment:
    """The environment written at ``where``."""
    fields = Fields(where, report)
    fields.known(_ENVIRONMENT_KEYS, "an environment")
    build = Fields(where / "build", report)
    build.known({"path", "dockerfile_path"}, "'build'")
    if not fields.data.get("image") and not fields.data.get("build"):
        report.error("AZD112", "an environment needs 'image' or 'build'", where)
    conda = fields.data.get("conda_file")
    return Environment(
        **fields.texts("name", "image"),
        version=fields.text("version", scalar=True),
        conda_file=conda if isinstance(conda, dict) else _local(fields, "conda_file"),
        build_path=_local(build, "path"),
        dockerfile_path=build.text("dockerfile_path") or "Dockerfile",
        description=fields.text("description") or "",
        tags=fields.words("tags"),
        where=where,
    )


def is_image(name: str) -> bool:
    """Whether ``name`` can name a Docker image: ``registry:port/path/name:tag@digest``, as the engine reads it."""
    return bool(_IMAGE.fullmatch(name)) and len(name) <= _LONGEST_IMAGE


def _local(fields: Fields, key: str) -> Path | None:
    path = fields.path(key)
    return path if isinstance(path, Path) else None


def read_environment(where: Where, path: str, report: Report) -> Environment | None:
    """The environment in the file that ``where`` names."""
    file = where.resolve(path)
    if not file.is_file():
        report.error("AZD122", f"no environment file {path}", where, hint=neighbours(file, path, where.source.file))
        return None
    source = read_source(file, report)
    return environment(Where(source), report) if source else None


def neighbours(file: Path, path: str, named_in: str) -> str:
    """Which file may have been meant by a missing one, ``path`` so in ``named_in``: one of a like name beside it, or
    the same one where it lies now, a folder deeper.
    """
    folder = file if file.is_dir() else file.parent
    files = folder.iterdir() if folder.is_dir() else ()
    near = sorted(p.name for p in files if p.suffix in (".yml", ".yaml") and p.name != Path(named_in).name)
    if near:
        return did_you_mean(file.name, near)
    deeper = sorted(folder.parent.glob(f"*/{folder.name}/{file.name}"))
    if len(deeper) == 1:
        added = deeper[0].parts[len(folder.parent.parts)]
        return f"it lies at {Path(path).parent.parent / added / folder.name / file.name}"
    return "" if folder.is_dir() else f"there is no folder {folder}"


def read_source(file: Path, report: Report) -> Source | None:
    try:
        return reader.read(shown(file))
    except SpecError as error:
        report.extend(error.problems)
        return None


def shown(file: Path) -> str:
    """``file`` as messages show it: relative to the working directory when it lies below."""
    # A link that leads nowhere, or in a ring, is shown by its own name.
    real = file.resolve() if file.exists() else file.absolute()
    try:
        return str(real.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
