"""A component's code as Azure would take it: see :mod:`azdistill.snapshot`."""

from azdistill.snapshot import Snapshot as Snapshot
from azdistill.snapshot import take as take
