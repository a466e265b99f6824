"""The project that a spec belongs to: the folder that its code, includes, environments and components come from.

It is the git repository around the file; where there is none, the nearest folder with an ``azdistill.yml`` or a
``pyproject.toml``; where there is none of these either, the folder of the file that was given to azdistill. Nothing
says that this one is a project, so a file in it may name what lies near it: it may be of an unpacked archive of a
repository.
"""

from __future__ import annotations

import os
from pathlib import Path

_MARKS = ("azdistill.yml", "pyproject.toml")
#: The components of azdistill itself, which every project may use: in an installed package, and in a checkout.
_PACKAGE = Path(os.path.realpath(__file__)).parents[1]
_OURS = (_PACKAGE / "_data", *(_PACKAGE.parent / name for name in ("components", "environments", "pipelines")))


def root_of(folder: Path, start: Path | None = None) -> Path:
    """The project of a file in ``folder``; ``start`` is the folder of the file that led there."""
    folder = Path(os.path.realpath(folder))
    around = (folder, *folder.parents)
    for above in around:
        if os.path.exists(above / ".git"):
            return above
    for above in around:
        if any(os.path.exists(above / mark) for mark in _MARKS):
            return above
    if folder.is_relative_to(_OURS[0]):
        return _OURS[0]
    return start if start and folder.is_relative_to(start) else folder


def is_marked(root: Path) -> bool:
    """Whether something says that ``root`` is a project."""
    return root == _OURS[0] or any(os.path.exists(root / mark) for mark in (".git", *_MARKS))


def is_near(path: Path, root: Path) -> bool:
    """Whether a folder that holds ``path``, its links followed, and ``root`` is less than somebody's whole disk: the
    root of the file system, a home, the folder for temporary files.
    """
    # Imported here: few files name what lies outside.
    import tempfile

    shared = Path(os.path.commonpath((os.path.realpath(path), root)))
    whole = (Path.home(), tempfile.gettempdir())
    return not any(Path(os.path.realpath(folder)).is_relative_to(shared) for folder in whole)


def leaves(path: Path, root: Path) -> bool:
    """Whether ``path``, its links followed, lies neither in the project ``root`` nor among azdistill's own files."""
    real = Path(os.path.realpath(path))
    return not any(real.is_relative_to(folder) for folder in (root, *_OURS))
