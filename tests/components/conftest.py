"""Tests of components find the code of each of them, and run one in a snapshot of its folder and its includes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from snapshots import COMPONENTS, FOLDERS, Component

# Tests beside the snapshots look into common and into what one component alone has; module names are unique.
MODEL_STEPS = ("finetune_student", "teacher_logits", "evaluate", "compare")
for folder in ("common", "prepare_data", "teacher_inference", "teacher_in_job", "curate", *MODEL_STEPS):
    path = str(COMPONENTS if folder == "common" else FOLDERS[folder])
    if path not in sys.path:
        sys.path.append(path)


@pytest.fixture
def component(tmp_path: Path) -> Callable[..., Component]:
    """``component("curate")``: its snapshot in a folder of its own under tmp_path."""
    made = 0

    def make(name: str) -> Component:
        nonlocal made
        made += 1
        return Component(name, tmp_path / f"{name}-{made}")

    return make
