"""What people write in Python: :class:`DistillationJob`, a recipe as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.compile import CompiledRecipe, build
from azdistill.compile.naming import distilled_name, student_name
from azdistill.recipe import Recipe, from_settings


class DistillationJob:
    """A distillation, written in Python with the words of a recipe.

    ``teacher_model``, ``student_model``, ``training_data``, ``task_type`` are what most need; every other setting of a
    recipe is accepted by its section (``evaluation={...}``) or its own name (``teacher_endpoint=``, ``max_tokens=``).
    Relative paths start from the working directory. Raises UserError (SpecError where several things are wrong).
    """

    def __init__(
        self,
        *,
        teacher_model: str,
        student_model: str,
        task_type: str,
        training_data: str | Path | None = None,
        validation_data: str | Path | None = None,
        test_data: str | Path | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        data = {"training_data": training_data, "validation_data": validation_data, "test_data": test_data}
        settings: dict[str, Any] = {
            **more,
            **data,
            "teacher_model": teacher_model,
            "student_model": student_model,
            "task_type": task_type,
            "hyperparameters": hyperparameters,
        }
        self._reading = from_settings(settings, Path.cwd(), "DistillationJob")

    @property
    def recipe(self) -> Recipe:
        """The recipe that the arguments amount to."""
        assert self._reading.recipe is not None
        return self._reading.recipe

    def to_pipeline(self) -> CompiledRecipe:
        """The pipeline that the recipe stands for, with what there is to say about it."""
        return build(self._reading)

    @property
    def student(self) -> str:
        """What the student is called in the names of models."""
        return student_name(self.recipe.student.model, self._reading.folder)

    @property
    def model_name(self) -> str:
        """The name that the distilled model will have: ``<student>-distilled``."""
        return distilled_name(self.student)

    def __repr__(self) -> str:
        recipe = self.recipe
        return f"DistillationJob({recipe.teacher.model} -> {recipe.student.model}, {recipe.task})"
