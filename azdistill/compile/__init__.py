"""From a recipe to the Azure ML pipeline that it stands for.

The pipeline is plain Azure ML: components, bindings, values. ``azdistill compile`` writes it down, ``azdistill run``
runs it here, and ``az ml job create`` takes it too. :func:`open_file` opens either, a recipe or a pipeline, and tells
what there is to say about it. Names are imported when they are used: a pipeline needs nothing of what reads recipes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.compile.documents import PipelineDocument, open_file
    from azdistill.compile.recipe import CompiledRecipe, build, check, compile_recipe

__all__ = ["CompiledRecipe", "PipelineDocument", "build", "check", "compile_recipe", "open_file"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'azdistill.compile' has no attribute '{name}'")
    home = "documents" if name in ("PipelineDocument", "open_file") else "recipe"
    return getattr(importlib.import_module(f"azdistill.compile.{home}"), name)
