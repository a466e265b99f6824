"""Recipes: what a person writes down to have a model distilled, in YAML or in Python.

:func:`load` reads one, with ``--set`` applied; :func:`check` lists what is wrong with it; :func:`is_recipe` tells a
recipe from a pipeline; :func:`from_settings` takes the same vocabulary as keyword arguments.
"""

from azdistill.recipe.models import Recipe
from azdistill.recipe.read import Reading, check, from_settings, is_recipe, load, read

__all__ = ["Reading", "Recipe", "check", "from_settings", "is_recipe", "load", "read"]
