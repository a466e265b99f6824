"""Files that a spec names and that have to be on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from azdistill.aml.checks.survey import Survey
from azdistill.aml.datastore_paths import datastore_path
from azdistill.aml.expressions import DEFAULT_DATASTORE, fill
from azdistill.aml.fields import is_remote
from azdistill.aml.models import CommandComponent, Data, Input, Output
from azdistill.aml.source import Report, Where
from azdistill.errors import UserError, did_you_mean_path
from azdistill.snapshot import is_marked, is_near, leaves, root_of


def _missing(report: Report, code: str, what: str, path: Path, where: Where, *, single: bool = False) -> None:
    """Note a file (``single``) or a file or folder that is not there; a pipe or a device is none."""
    if not (path.is_file() or (path.is_dir() and not single)):
        name = where.value if isinstance(where.value, str) else path
        report.error(code, f"no {what} {name}", where, hint=did_you_mean_path(path) or f"looked in {path.parent}")


def missing_code(survey: Survey, report: Report) -> None:
    """AZD120."""
    for component in survey.components:
        if isinstance(component.code, Path):
            _missing(report, "AZD120", "code at", component.code, component.place("code"))


def missing_includes(survey: Survey, report: Report) -> None:
    """AZD124: an include that is absent, or would be laid over another file of its name."""
    for component in survey.components:
        includes: dict[str, str] = {}
        for number, path in enumerate(component.additional_includes):
            where = component.where / "additional_includes" / number
            # Azure ML zips the folder when an include names FOLDER.zip.
            source = path.with_suffix("") if path.suffix == ".zip" and not path.exists() else path
            _missing(report, "AZD124", "include", source, where)
            inside = component.code / path.name if isinstance(component.code, Path) else None
            if path.name in includes or (inside and inside.exists() and inside.resolve() != path.resolve()):
                over = f"include {includes[path.name]}" if path.name in includes else f"the code's own {path.name}"
                report.error("AZD124", f"include '{where.value}' would be laid over {over}", where)
            includes[path.name] = str(where.value)


def missing_environment_files(survey: Survey, report: Report) -> None:
    """AZD122: conda files, build contexts and their Dockerfiles."""
    for environment in survey.environments:
        where = environment.where
        if isinstance(environment.conda_file, Path):
            _missing(report, "AZD122", "conda file", environment.conda_file, where / "conda_file", single=True)
        if environment.build_path:
            _missing(report, "AZD122", "build context", environment.build_path, where / "build" / "path")
            if environment.build_path.is_dir():
                dockerfile = environment.build_path / environment.dockerfile_path
                _missing(report, "AZD122", "Dockerfile", dockerfile, where / "build" / "dockerfile_path", single=True)


def missing_data(survey: Survey, report: Report) -> None:
    """AZD123: local paths of inputs."""
    for scope in survey.scopes:
        for declared in scope.inputs.values():
            _missing_data(declared, report)
        for value in [value for step in scope.jobs.values() for value in step.inputs.values()]:
            if isinstance(value, Data):
                _missing_data(value, report)


def places_that_cannot_be(survey: Survey, report: Report) -> None:
    """AZD343 and AZD344: where outputs are written to, and what data on a datastore is named.

    A warning where only a local run cannot do it, for an address of another kind.
    """
    for each in _given(survey):
        uri = fill(each.path or "", {DEFAULT_DATASTORE: "workspaceblobstore"})
        place = datastore_path(uri)
        if not uri or "${{" in uri:
            # A fresh place for each run, or the path of another step.
            continue
        if place and place.fault:
            report.error("AZD344", place.fault, each.where_path, hint=place.hint)
        elif not isinstance(each, Output) or place:
            continue
        elif is_remote(uri):
            hint = "name a path on a datastore, a folder of this machine stands for that"
            report.warning("AZD343", f"'azdistill run' writes no output to {uri}", each.where_path, hint=hint)
        else:
            hint = "name a path on a datastore (azureml://datastores/NAME/paths/PATH), or none"
            report.error("AZD343", f"an output cannot be written to {uri}", each.where_path, hint=hint)


def _given(survey: Survey) -> Iterator[Input | Data | Output]:
    """What a job or a step gives to inputs and outputs that may have a path."""
    for scope in survey.scopes:
        if scope.is_job:
            yield from scope.inputs.values()
            yield from scope.outputs.values()
        for step in scope.jobs.values():
            settings = (*step.inputs.values(), *step.outputs.values())
            yield from (setting for setting in settings if isinstance(setting, Data | Output))


def _missing_data(data: Input | Data, report: Report) -> None:
    if data.path and Path(data.path).is_absolute():
        _missing(report, "AZD123", "data at", Path(data.path), data.where_path)


def paths_that_leave(survey: Survey, report: Report) -> None:
    """AZD177: what a file names outside of its project. What a program made in memory names is its own affair.

    A warning where nothing says what the project is, and what is named lies near.
    """
    start = survey.sources[0].base
    for where, path, what in _named(survey):
        root = root_of(where.source.base, start)
        exists = path.exists() or path.with_suffix("").exists()
        if where.source.path and exists and leaves(path, root):
            _leaving(report, f"{what} {where.value}", where, root)


def _leaving(report: Report, what: str, where: Where, root: Path) -> None:
    named_path = Path(os.path.normpath(where.source.base / str(where.value).removeprefix("file:")))
    by_a_link = os.path.isabs(str(where.value)) or named_path.is_relative_to(root)
    one = "an azdistill.yml or a git repository around both makes one project of them"
    if by_a_link or is_marked(root) or not is_near(named_path, root):
        hint = f"copy it into the project; {one}"
        report.error("AZD177", f"{what} leaves the project ({root})", where, hint=hint)
    else:
        report.warning("AZD177", f"{what} lies outside of {root}", where, hint=one)


def _named(survey: Survey) -> Iterator[tuple[Where, Path, str]]:
    """Every local path that leads to something that is run, or sent to Azure as part of a component."""
    for component in survey.components:
        if isinstance(component.code, Path):
            yield component.place("code"), component.code, "the code"
        for number, path in enumerate(component.additional_includes):
            yield component.where / "additional_includes" / number, path, "the include"
    for environment in survey.environments:
        if isinstance(environment.conda_file, Path):
            yield environment.where / "conda_file", environment.conda_file, "the conda file"
        if environment.build_path:
            yield environment.where / "build" / "path", environment.build_path, "the build context"
            if (where := environment.where / "build" / "dockerfile_path").value:
                yield where, environment.build_path / environment.dockerfile_path, "the Dockerfile"
    for _, step in survey.steps():
        where = step.where / "component"
        source = step.local_component.source if step.local_component else None
        # A registered component is where azdistill.yml says.
        if source and isinstance(where.value, str) and not is_remote(where.value):
            yield where, source, "the component"


def links_in_code(survey: Survey, report: Report) -> None:
    """AZD177 as well: links in code and includes, which a run would refuse."""
    # Imported here: it reads what a project is from this package.
    from azdistill.snapshot import StrayLink, take

    checked: set[tuple[Path, ...]] = set()
    for component in survey.components:
        code, source = component.code, component.where.source
        folders = (*((code,) if isinstance(code, Path) else ()), *component.additional_includes)
        if source.path is None or (source.base, *folders) in checked:
            continue
        checked.add((source.base, *folders))
        root = root_of(source.base, survey.sources[0].base)
        # What lies outside is told of by itself.
        if any(leaves(folder, root) for folder in folders) or not any(map(_holds_links, folders)):
            continue
        try:
            take(code if isinstance(code, Path) else None, component.additional_includes, base=source.base)
        except StrayLink as error:
            report.error("AZD177", error.message, _place_of_link(component, error.message), hint=error.hint)
        except UserError:
            # A file that is missing has been told of.
            continue


def _holds_links(path: Path) -> bool:
    """Whether there is a link in a folder, or in what an include zips."""
    for folder, folders, files in os.walk(path if path.exists() else path.with_suffix("")):
        if any(os.path.islink(os.path.join(folder, name)) for name in (*folders, *files)):
            return True
    return False


def _place_of_link(component: CommandComponent, message: str) -> Where:
    """Where a link's folder is named: an include, or else the code."""
    for number, path in enumerate(component.additional_includes):
        folder = path if path.exists() else path.with_suffix("")
        if message.startswith(f"{folder}{os.sep}"):
            return component.where / "additional_includes" / number
    return component.place("code")
