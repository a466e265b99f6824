"""The five tasks. Each module here holds one object named ``TASK``; a sixth task is one more file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from common.step import BadConfig
from common.tasks.base import Task

__all__ = ["Task", "get_task", "task_names"]


@cache
def _tasks() -> dict[str, Task]:
    modules = [info.name for info in pkgutil.iter_modules(__path__) if info.name not in ("base", "text")]
    found = [importlib.import_module(f"{__name__}.{name}").TASK for name in sorted(modules)]
    return {task.name: task for task in found}


def task_names() -> list[str]:
    """The names of all tasks."""
    return list(_tasks())


def get_task(name: str) -> Task:
    """The task of that name or alias, in any case. Raises BadConfig naming those there are."""
    word = name.strip().lower().replace("-", "_")
    for task in _tasks().values():
        if word == task.name or word in task.aliases:
            return task
    raise BadConfig(f"there is no task '{name}' (known: {', '.join(task_names())})")
