"""Hashes of values that nobody can guess from them: keyed with a secret that only this state folder knows.

A plain hash of a short value, such as a password, is found by trying. With the secret a cache key can know the value of
every variable, and says it to nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from pathlib import Path

from azdistill.local.store.durable_files import lock
from azdistill.local.store.home import Home

#: A variable that holds a secret, by its name. A switch such as HF_HUB_DISABLE_IMPLICIT_TOKEN holds none.
SECRET = re.compile(r"(?!.*_DISABLE_).*_(TOKEN|KEY|SECRET|PASSWORD|CREDENTIALS?|PAT)", re.IGNORECASE)
_LENGTH = 32


@dataclass(frozen=True, slots=True, repr=False)
class Seal:
    """The secret of a state folder."""

    secret: bytes

    def of(self, name: str, value: str) -> str:
        """What a key says of a variable: the keyed hash of its value; of one that is named like a secret, no more than
        that it is there.
        """
        if SECRET.fullmatch(name):
            return "its name"
        text = f"{name}\0{value}".encode("utf-8", "surrogateescape")
        return f"hmac {hmac.new(self.secret, text, hashlib.sha256).hexdigest()[:32]}"


def open_seal(home: Home) -> Seal:
    """The seal of a state folder, which is made where there is none. OSError where it cannot be.

    One that is only looked at gets none: it has no results that a key could lead to.
    """
    try:
        secret = _read_or_make(home.seal) if not home.looking else home.seal.read_bytes()
    except FileNotFoundError:
        secret = b""
    return Seal(secret if len(secret) == _LENGTH else os.urandom(_LENGTH))


def _read_or_make(path: Path) -> bytes:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(handle, "r+b", buffering=0) as file:
        # Of two runs that start at once the second waits, and reads what the first has made.
        lock(handle, wait=True)
        secret = file.read()
        if len(secret) != _LENGTH:
            # None yet, or what a power cut has left of one.
            secret = os.urandom(_LENGTH)
            file.seek(0)
            file.truncate()
            file.write(secret)
            os.fsync(handle)
    return secret
