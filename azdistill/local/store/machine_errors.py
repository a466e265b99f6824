"""What the operating system refuses, in our words: every such error is the machine's, with a code and what helps."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from azdistill.errors import MachineError

#: The disk has no room left, for this user at least.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ROOM = "free some space, or move the state folder with AZDISTILL_HOME"
_APART = "put the whole state folder on one disk; a link in it leads to another"
_BUSY = "another program uses it: end that, and go on with --resume latest"
_STALE = "the server of that folder lost it: look at the mount, and go on with --resume latest"
_PLACE = "a file lies where a folder is expected: move it away"
_OPEN = "close other programs, or raise the limit on open files: ulimit -n"
_CROWDED = "end other programs, or raise the limit on processes and threads: ulimit -u"
#: What is the disk's. Of the rest nobody has thought, and AZD900 says so.
_DISK: dict[int, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM), _ROOM),
    errno.ENOTDIR: _PLACE,
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _OPEN),
    **dict.fromkeys((errno.EBUSY, errno.ENOTEMPTY, errno.ETXTBSY), _BUSY),
    **dict.fromkeys((errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV), _STALE),
    errno.EXDEV: _APART,
    errno.EFBIG: "the disk, or ulimit -f, takes no file of that size",
    errno.ENAMETOOLONG: "give it a shorter name, or name a folder with a shorter path with AZDISTILL_HOME",
    errno.ELOOP: "take away a link that leads to itself",
}
#: As CPython says that a thread cannot be started, which is no OSError.
_NO_THREAD = "can't start new thread"


@contextmanager
def disk_errors(doing: str, hint: str = "", also: Collection[int] = ()) -> Iterator[None]:
    """Turn what the machine refuses (a full disk, no permission, no thread) into a MachineError saying what was tried.

    ``hint``: what helps where the disk is full or does not permit it; ``also``: further numbers that are the disk's.
    """
    try:
        yield
    except Exception as error:
        failure = machine_error(doing, error, hint, also)
        if failure is None:
            raise
        raise failure from error


def machine_error(doing: str, error: BaseException, hint: str = "", also: Collection[int] = ()) -> MachineError | None:
    """The MachineError for what the machine refused while ``doing``; None for what is no such error."""
    if isinstance(error, MemoryError):
        return MachineError(f"{doing}: there is not enough memory", code="AZD900", hint=_CROWDED)
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return MachineError(f"{doing}: no thread can be started", code="AZD304", hint=_CROWDED)
    if not isinstance(error, OSError):
        return None
    # Of a copy the second is what was written.
    name = error.filename2 or error.filename
    # An error of a library may have no number; its text is all there is then.
    text = (error.strerror or str(error) or type(error).__name__) + (f" ({os.fsdecode(name)})" if name else "")
    number = error.errno or 0
    if number in (errno.EAGAIN, errno.ENOMEM):
        return MachineError(f"{doing}: {text}", code="AZD304", hint=_CROWDED)
    if number not in _DISK and number not in also:
        return MachineError(f"{doing}: {text}", code="AZD900")
    advice = _PLACE if number == errno.EEXIST else _DISK.get(number, _ROOM)
    return MachineError(f"{doing}: {text}", code="AZD310", hint=(hint or advice) if advice == _ROOM else advice)
