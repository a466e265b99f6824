"""Find the data that a reference leads to at this moment, and give it as one file."""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import arguments, strict_json, tracking
from common.step import BadConfig, NoInput, run_step, say
from dates import filled, moment_of
from merge_files import join
from wildcards import fitting, has_wildcard, is_data, root_of
from workspace_data import Store, latest, parts_of

_ASSET = re.compile(r"azureml:([A-Za-z0-9][\w.-]*)@latest")


@dataclass
class Found:
    """What was resolved: files by name, and what is known of each; ``version`` and ``address`` where they apply."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    about: list[dict[str, Any]] = field(default_factory=list)
    version: str | None = None
    address: str = ""

    def add(self, name: str, content: bytes, **known: Any) -> None:
        """Take a file."""
        self.files.append((name, content))
        digest = hashlib.sha256(content).hexdigest()
        self.about.append({"path": name, "size": len(content), "sha256": digest, **known})


def main() -> None:
    """Run the step."""
    args = arguments.of(__file__)
    moment = moment_of(args.as_of, args.offset, datetime.now(UTC))
    source = resolve(args.reference, args.folder, moment)
    if not source.files:
        raise NoInput(f"nothing fits {args.reference} at {moment:%Y-%m-%dT%H:%M:%SZ}{_searched(source)}")
    join(source.files, args.data)
    record(args, moment, source)


def resolve(reference: str, folder: Path | None, moment: datetime) -> Found:
    """The files that ``reference`` leads to at ``moment``."""
    if asset := _ASSET.fullmatch(reference):
        version, address, kind = latest(asset[1])
        source = _on_datastore(address.rstrip("/") + "/**" if kind == "uri_folder" else address)
        source.version = version
        return source
    path = filled(reference, moment)
    if path.startswith("azureml://"):
        return _on_datastore(path)
    if path.startswith("azureml:"):
        raise BadConfig(f"{reference} names one version, which never changes; write azureml:NAME@latest")
    if folder is None:
        raise BadConfig(f"{reference} is a path, and there is no 'folder' that it starts from")
    return _in_folder(folder, path)


def _on_datastore(address: str) -> Found:
    name, path = parts_of(address)
    store, source = Store(name), Found(address=f"azureml://datastores/{name}/paths/{path}")
    listed = {file.path: file for file in store.files(root_of(path))}
    for chosen in _chosen(path, list(listed)):
        file = listed[chosen]
        source.add(chosen, store.read(file), etag=file.etag)
    return source


def _in_folder(folder: Path, path: str) -> Found:
    source = Found(address=path)
    listed = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    for chosen in _chosen(path, listed):
        source.add(chosen, (folder / chosen).read_bytes())
    return source


def _chosen(path: str, listed: list[str]) -> list[str]:
    """The files that a path means: itself, those that fit its wildcards, or those of the folder that it is."""
    if has_wildcard(path):
        return fitting(path, listed)
    if path in listed:
        return [path]
    inside = path.rstrip("/") + "/" if path.strip("/") else ""
    return sorted(name for name in listed if name.startswith(inside) and is_data(name.removeprefix(inside)))


def _searched(source: Found) -> str:
    return f": no data file at {source.address}" if source.address else ""


def record(args: argparse.Namespace, moment: datetime, source: Found) -> None:
    """Write the summary and the tags by which two firings can be told apart, or seen to be on the same data."""
    digest = hashlib.sha256(args.data.read_bytes()).hexdigest()
    summary = {
        "step": "resolve_data",
        "reference": args.reference,
        "as_of": args.as_of,
        "moment": moment.isoformat(),
        "address": source.address,
        "version": source.version,
        "files": source.about,
        "sha256": digest,
    }
    args.summary.parent.mkdir(parents=True, exist_ok=True)
    args.summary.write_text(strict_json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tracking.set_tag("azdistill.data", digest)
    tracking.set_tag("azdistill.data.reference", args.reference)
    if source.version:
        tracking.set_tag("azdistill.data.version", source.version)
    tracking.log_metric("files", len(source.files))
    tracking.log_metric("bytes", sum(file["size"] for file in source.about))
    version = f"version {source.version}, " if source.version else ""
    say(f"{args.reference}: {version}{len(source.files)} file(s), sha256 {digest[:12]}")


if __name__ == "__main__":
    run_step(main)
