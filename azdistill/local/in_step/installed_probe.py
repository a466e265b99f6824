"""Tells, as JSON, what an interpreter is and what is installed in it. Runs in the interpreter of a step, by its text.

Names and versions are read from the names of the folders that hold them, since to read each METADATA takes 20 times
longer. What these do not tell is told by content: ``contents`` are hashes of what installers wrote down of packages
that came from a folder, a file or a repository; ``sources`` says where the rest is imported from, to be read by who
asks. ``folders`` and ``watched`` (files) are what changes when any of this would be told otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import site
import sys
import sysconfig
from typing import Any

IMPORTABLE = (".py", ".so", ".pyd")


class Package:
    """What a folder ``*.dist-info`` or ``*.egg-info`` says."""

    def __init__(self, place: str, name: str) -> None:
        self.place, self._info = place, name
        self.label = re.sub("[.](dist|egg)-info$", "", name).lower()
        self._record = [line.rsplit(",", 2) for line in self._read("RECORD").splitlines()]
        self.modules = self._read("top_level.txt").split()
        try:
            origin = json.loads(self._read("direct_url.json") or "{}")
        except ValueError:
            origin = {}
        self._origin: dict[str, Any] = origin if isinstance(origin, dict) else {}
        self.is_editable = bool((self._origin.get("dir_info") or {}).get("editable"))

    def owns(self, name: str) -> bool:
        """Whether the package has installed a file of this name."""
        return any(row[0].split("/")[-1] == name for row in self._record)

    def tops(self) -> set[str]:
        """What of it lies directly beside it, without extensions."""
        beside = [line[3:] for line in self._read("installed-files.txt").split() if line.startswith("../")]
        return {stem(name.strip('"').split("/")[0]) for name in (*beside, *self.modules, *(r[0] for r in self._record))}

    def content(self) -> str | None:
        """The hash of what its installer wrote down of its files, where no index says what they are."""
        if self.is_editable or not self._origin:
            return None
        # Scripts and compiled files name the place that they are in.
        rows = [r for r in self._record if len(r) == 3 and r[1] and not r[0].startswith(("..", "/", self._info))]
        return hashlib.sha256(repr(sorted(rows)).encode("utf-8", "surrogateescape")).hexdigest()

    def project(self) -> str:
        """The folder that an editable package was installed from."""
        from urllib.parse import unquote

        url = str(self._origin.get("url", ""))
        return unquote(url[len("file://") :]) if url.startswith("file://") else ""

    def modules_in(self, folder: str) -> list[str]:
        """Its modules in a folder that it makes importable as a whole: as it says, or else by its own name; none where
        nothing lies there by these names.
        """
        guess = re.split(r"-\d", self.label)[0].replace("-", "_")
        there = {stem(name) for name in entries_of(folder) if name.endswith(IMPORTABLE) or name.isidentifier()}
        if self.modules and there.issuperset(self.modules):
            return self.modules
        return [guess] if guess in there else []

    def _read(self, name: str) -> str:
        return read(os.path.join(self.place, self._info, name))


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def stem(name: str) -> str:
    return name.split(".")[0]


def entries_of(place: str) -> list[str]:
    return sorted(os.listdir(place)) if os.path.isdir(place) else []


def loose_in(place: str, packages: list[Package]) -> dict[str, list[dict[str, Any]]]:
    """The modules beside the packages that belong to none of them."""
    owned = set().union(*(package.tops() for package in packages if package.place == place))
    loose: dict[str, list[dict[str, Any]]] = {}
    for name in (name for name in entries_of(place) if stem(name) not in owned and name != "__pycache__"):
        path = os.path.join(place, name)
        if name.endswith(IMPORTABLE) or (os.path.isdir(path) and name.isidentifier()):
            loose.setdefault(stem(name), []).append({"path": path})
    return loose


def folders_of(place: str, name: str) -> list[str]:
    """The folders that a ``.pth`` file names; none of a file of another kind."""
    if not name.endswith(".pth"):
        return []
    lines = [line.strip() for line in read(os.path.join(place, name)).splitlines()]
    return [os.path.join(place, line) for line in lines if line and not re.match(r"#|import\s", line)]


def named_by(place: str, name: str, owner: Package | None) -> list[dict[str, Any]]:
    """What the lines of a ``.pth`` file make importable."""
    sources: list[dict[str, Any]] = []
    for folder in filter(os.path.isdir, folders_of(place, name)):
        modules = owner.modules_in(folder) if owner else []
        sources += [{"module": os.path.join(folder, module)} for module in modules]
        sources += [] if modules else [{"folder": folder, "namespaces": True}]
    return sources


def mapped_by(finder: object) -> tuple[str, list[dict[str, Any]]]:
    """What a hook of an editable package finds, and the name of the file that the hook is in."""
    module = sys.modules.get(getattr(finder, "__module__", ""))
    tables = (
        getattr(module, "MAPPING", None),
        *(getattr(finder, n, None) for n in ("_redirections", "known_source_files")),
    )
    targets = [str(target) for table in tables if isinstance(table, dict) for target in table.values()]
    bare = [re.sub(r"(/__init__)?\.py$", "", target) for target in targets]
    return os.path.basename(getattr(module, "__file__", None) or ""), [{"module": target} for target in bare]


def imported_from_elsewhere(places: list[str], packages: list[Package]) -> dict[str, list[dict[str, Any]]]:
    """Label -> what is imported under it and has to be read."""
    editable = [package for package in packages if package.is_editable]
    named: list[tuple[str, str, list[dict[str, Any]]]] = []
    for place in places:
        for name in (name for name in entries_of(place) if name.endswith(".pth")):
            owner = next((p for p in editable if p.place == place and p.owns(name)), None)
            named.append((name, owner.label if owner else name, named_by(place, name, owner)))
    for finder in sys.meta_path:
        file, found = mapped_by(finder)
        owner = next((p for p in editable if p.owns(file)), None)
        named.append((file, owner.label if owner else file, found))
    sources: dict[str, list[dict[str, Any]]] = {}
    for _, label, found in named:
        if found:
            sources.setdefault(label, []).extend(found)
    for package in editable:
        if package.label not in sources and package.project():
            # It is imported in a way that nobody here knows.
            sources[package.label] = [{"folder": package.project(), "namespaces": False}]
    return sources


def contents_of(packages: list[Package]) -> dict[str, str]:
    """Label -> what is told of the content of its packages. One may be installed in several places."""
    told: dict[str, list[str | None]] = {}
    for package in packages:
        told.setdefault(package.label, []).append(package.content())
    return {label: " ".join(map(str, contents)) for label, contents in told.items() if any(contents)}


def added_to_path(places: list[str], packages: list[Package]) -> list[dict[str, Any]]:
    """Folders on the path that no file names: a line of a ``.pth`` file, or a sitecustomize, may do anything."""
    library = sysconfig.get_paths()["stdlib"]
    named = {folder for place in places for name in entries_of(place) for folder in folders_of(place, name)}
    known = {os.path.realpath(path) for path in (*places, *named, *(package.project() for package in packages))}
    return [
        {"folder": path, "namespaces": True}
        for path in sys.path
        if os.path.isdir(path) and os.path.realpath(path) not in known and not f"{path}/".startswith(f"{library}/")
    ]


def told() -> dict[str, Any]:
    """All of it."""
    paths = [path for path in sys.path if path]
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    places = [p for p in dict.fromkeys([*paths, *user]) if p.rstrip("/").endswith(("site-packages", "dist-packages"))]
    infos = [(p, name) for p in places for name in entries_of(p) if name.endswith((".dist-info", ".egg-info"))]
    packages = [Package(place, name) for place, name in infos]
    sources = imported_from_elsewhere(places, packages)
    for place in places:
        for label, found in loose_in(place, packages).items():
            sources.setdefault(label, []).extend(found)
    if added := added_to_path(places, packages):
        sources["sys.path"] = added
    named = [(place, name) for place in places for name in entries_of(place) if name.endswith(".pth")]
    # A folder that is not there yet will be on the path once it is.
    absent = [folder for place, name in named for folder in folders_of(place, name) if not os.path.isdir(folder)]
    # Of a virtual environment: whether it sees the packages of its base.
    config = os.path.join(sys.prefix, "pyvenv.cfg")
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "build": sys.version,
        "distributions": sorted({package.label for package in packages}),
        "contents": contents_of(packages),
        "sources": sources,
        "executable": sys.executable,
        "user_base": site.getuserbase(),
        "folders": places,
        "watched": [*(os.path.join(place, name) for place, name in named), *absent, config],
    }


if __name__ == "__main__":
    print(json.dumps(told(), allow_nan=False))
