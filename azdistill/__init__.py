"""azdistill distils a large language model into a small one on Azure Machine Learning, on a laptop first.

``DistillationJob`` is a distillation written in Python and ``MLClient`` runs it; the command line does the same with
recipes in YAML. Names are imported when they are used, so that ``import azdistill`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.client import DistillationJob, MLClient
    from azdistill.errors import (
        AzdistillError,
        Interrupted,
        MachineError,
        Problem,
        RunFailed,
        ServiceError,
        SpecError,
        UserError,
    )

__all__ = [
    "AzdistillError",
    "DistillationJob",
    "Interrupted",
    "MLClient",
    "MachineError",
    "Problem",
    "RunFailed",
    "ServiceError",
    "SpecError",
    "UserError",
    "__version__",
]

#: What is no error, and the module that has it.
_HOMES = {"DistillationJob": "azdistill.client.job", "MLClient": "azdistill.client.client"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("azdistill")
    if name not in __all__:
        raise AttributeError(f"module 'azdistill' has no attribute '{name}'")
    home = _HOMES.get(name, "azdistill.errors")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
