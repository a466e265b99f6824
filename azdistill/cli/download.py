"""``azdistill download``: outputs of a run on Azure, checked, in the layout of a local run's ``--out``."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill.cli.options import json_option, workspace_options
from azdistill.cli.text import plural, print_answer
from azdistill.errors import MachineError, UserError
from azdistill.permissions import make_folders
from azdistill.terminal import size

if TYPE_CHECKING:
    from azdistill.cloud.jobs.download import Fetched
    from azdistill.cloud.jobs.outputs import Output
    from azdistill.cloud.workspace.connect import Connection

#: Files gather here, below DIR, until all of them are whole.
_GATHERED = ".azdistill-download"


@click.command("download")
@click.argument("run", required=False)
@click.option("--output", metavar="NAME", help="Only this output.")
@click.option("--step", metavar="STEP", help="An output of this step (with --output) in place of the run's own.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to (default: a folder named RUN).")
@json_option
@workspace_options
def download_command(
    run: str | None, output: str | None, step: str | None, out: Path | None, as_json: bool, where: Any
) -> None:
    """Download the outputs of a run on Azure.

    A folder ends as DIR/<output>/, a file as DIR/<output> with its extension, as with 'azdistill run --out'. Every file
    is checked against the hashes that its step recorded; files in DIR that azdistill did not make are never
    overwritten. An interrupted download continues where it stopped. RUN is a name, the beginning of the name of a run
    submitted from this folder, or 'latest' (the default).
    """
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.jobs.follow import get_job
    from azdistill.cloud.jobs.outputs import Outputs
    from azdistill.cloud.workspace.connect import connect

    if step is not None and output is None:
        raise UserError(f"which output of step '{step}'?", code="AZD438", hint="name it with --output")
    connection = connect(where)
    name = recent.resolve(connection, run)
    job = get_job(connection, name)
    source = Outputs(connection, job)
    outputs = [source.of_step(step, output or "")] if step is not None else source.of_pipeline(output)
    folder = (out or Path(job.name)).absolute()
    paths = deliver(connection, job.name, outputs, folder, say=lambda text: click.echo(text, err=as_json))
    pages = [Path(path, "report.html") for path in paths.values()]
    report = next((page for page in pages if page.is_file()), None)
    content = {"run": job.name, "outputs": paths, "report": str(report) if report else None}
    opened = [f"open {report}"] if report else []
    print_answer(content, lambda: [*(f"{each}: {path}" for each, path in paths.items()), *opened], as_json=as_json)


def deliver(
    connection: Connection, run: str, outputs: Sequence[Output], out: Path, *, say: Callable[[str], None]
) -> dict[str, str]:
    """Download ``outputs`` of ``run`` into ``out``; output -> where it is now. ``say`` is told what was done."""
    from azdistill.local import deliver, delivered, disk_errors, refuse_foreign

    refuse_foreign(out, [each.name for each in outputs])
    paths: dict[str, str] = {}
    with disk_errors(f"cannot write to {out}"), _gathering(out) as gathered:
        for each in outputs:
            files = {name: str(mark.get("sha256")) for name, mark in each.expected.items()} if each.expected else None
            if files and (path := delivered(out, each.name, files)):
                say(f"{each.name}: unchanged")
                paths[each.name] = str(path)
                continue
            download = _fetch(connection, run, each, gathered)
            paths |= deliver(out, {each.name: download.path}, move=True)
            say(_summary(download))
        shutil.rmtree(gathered, ignore_errors=True)
    return paths


def _fetch(connection: Connection, run: str, output: Output, gathered: Path) -> Fetched:
    from azdistill.cloud.jobs.download import fetch

    # A name of its own for what lies elsewhere, so that nothing of another run is taken for it.
    place = f"{connection.workspace_id} {run} {output.place.datastore} {output.place.path}"
    folder = gathered / hashlib.sha256(place.encode()).hexdigest()[:16]
    with _progress(output.name) as on_bytes:
        return fetch(connection, output, folder, on_bytes)


@contextlib.contextmanager
def _gathering(out: Path) -> Iterator[Path]:
    """The folder where files gather, for one download at a time."""
    folder = out / _GATHERED
    make_folders(folder)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError:
        raise MachineError(f"another download into {out} is going on", code="AZD449", hint="wait for it") from None
    finally:
        os.close(handle)


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[int], None]]:
    """Tells a terminal how much has come; nobody else."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda count: progress.advance(task, count)


def _summary(download: Fetched) -> str:
    checked = "checked" if download.checked else "sizes checked only: its step left no manifest"
    left_out = (
        f"; {plural(download.left_out, 'file')} of others in the same place left out" if download.left_out else ""
    )
    files = plural(download.files, "file")
    return f"{download.output.name}: {files}, {size(download.size)}, {checked}{left_out}"
