"""What a terminal of a given size shows, compared with the files in ``screens`` character by character.

After a change that is meant, ``AZDISTILL_WRITE_SCREENS=1 pytest tests/cli/test_screens.py`` writes them anew; look at
what ``git diff`` says of them before you commit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from azdistill.cli.run_view import RunView
from azdistill.cli.screen import LiveScreen, PlainScreen
from azdistill.local.plan.steps import Plan
from azdistill.local.store.events import Event, RunState, StepState
from azdistill.terminal import harmless

SCREENS = Path(__file__).with_name("screens")
SIZES = [(80, 24), (50, 20), (200, 50)]
DEMO = ("prepare", "teacher", "curate", "finetune", "finetune_gold", "evaluate", "compare", "register")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Stage:
    """A run of some steps that goes on before a view, at moments that a scene chooses."""

    def __init__(self, folder: Path, steps: tuple[str, ...], open_screen: Callable[[Callable[[], float]], PlainScreen]):
        self.now = 1000.0
        self.screen = open_screen(lambda: self.now)
        self.view = RunView(self.screen, clock=lambda: self.now)
        self.run = RunState("demo_20261201093000_1a2b3c", folder, "sandbox-demo", steps={s: StepState() for s in steps})
        plan = Plan("sandbox-demo", "e", dict.fromkeys(steps), {}, {}, False, False, ())  # type: ignore[arg-type]
        self.view.hear(Event.of("run_started", plan=plan), self.run)

    def end(self, step: str, status: str, seconds: float = 0.0, **fields: str) -> None:
        self.run.steps[step] = StepState(status, seconds=seconds, **fields)  # type: ignore[arg-type]
        self.view.hear(Event.of("step_ended", step), self.run)

    def start(self, step: str, ago: float = 0.0) -> None:
        self.now -= ago
        self.view.hear(Event.of("step_started", step, attempt=1), self.run)
        self.now += ago

    def progress(self, step: str, done: float, total: float, rate: float, eta: float, text: str) -> None:
        record = {"kind": "progress", "done": done, "total": total, "rate": rate, "eta": eta, "text": text}
        self.view.hear(Event.of("record", step, record=record), self.run)

    def lines(self, step: str, *texts: str) -> None:
        for text in texts:
            self.view.hear(Event.of("line", step, text=text), self.run)


def asking(stage: Stage) -> None:
    """The teacher is asked: one step runs, with progress, six wait."""
    stage.end("prepare", "completed", 2.6)
    stage.start("teacher", ago=9)
    stage.progress("teacher", 5, 26, 0.9, 22, "50 tokens")
    stage.lines("prepare", "26 rows in, 26 kept (train 20, validation 2, test 4), 0 rejected")
    stage.lines("teacher", *(f"asking sandbox-teacher {n}/26 ({n * 4}%), 0.9/s, 22s left" for n in range(1, 6)))


def training(stage: Stage) -> None:
    """Two steps train at once, for more than an hour; what was answered before is reused."""
    stage.end("prepare", "cached")
    stage.end("teacher", "cached")
    stage.end("curate", "completed", 1.8)
    stage.start("finetune", ago=4321)
    stage.start("finetune_gold", ago=3599)
    stage.progress("finetune", 676, 705, 1.4, 21, "train loss 0.0049, validation loss 0.0145")
    stage.progress("finetune_gold", 12, 705, 0.1, 7200, "")
    long = "a line that is longer than any terminal is wide: " + "word " * 40
    stage.lines("finetune", "training 650/705", long)
    stage.lines("finetune_gold", "training 12/705", "表は端末より広い。" * 12)


def forty(stage: Stage) -> None:
    """Two of forty steps run, far below what fits."""
    names = list(stage.run.steps)
    for number, name in enumerate(names[:21]):
        stage.end(name, "cached" if number % 3 else "completed", 0 if number % 3 else number)
    stage.start(names[21], ago=61)
    stage.start(names[33], ago=5)
    stage.progress(names[33], 1, 3, 0.2, 10, "shards")
    stage.lines(names[21], *(f"epoch {number}" for number in range(10)))


def failing(stage: Stage) -> None:
    """One step failed, what needs it is left out, and another still runs."""
    stage.end("prepare", "completed", 2.6)
    cached = stage.run.folder / "cache" / "97" / ("97c7cef0" * 8) / "outputs" / "train"
    stage.run.steps["prepare"].outputs["train"] = str(cached)
    log = stage.run.folder / "log.txt"
    log.write_text(f"asking\nerror[data]: no row of {cached} has a question\nimage sha256:{'0a1b2c3d' * 8}\n")
    stage.end("teacher", "failed", 71, error="the command ended with exit code 69", log=str(log))
    for name in DEMO[2:]:
        stage.end(name, "skipped", reason="failure", detail="it needs 'teacher', which failed")


FORTY = tuple(f"inner.shard_{number:02}.teacher_inference" for number in range(40))
SCENES = {
    "asking": (asking, DEMO),
    "training": (training, DEMO),
    "forty": (forty, FORTY),
    "failing": (failing, DEMO),
}


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    width, height = request.param
    for name, text in {"TERM": "xterm-256color", "COLUMNS": str(width), "LINES": str(height)}.items():
        monkeypatch.setenv(name, text)
    return width, height


def same(name: str, shown: str) -> None:
    """Compare with a file of ``screens``, or write it."""
    file = SCREENS / name
    if os.environ.get("AZDISTILL_WRITE_SCREENS"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("scene", SCENES)
def test_the_live_view_is_as_it_was(scene: str, size: tuple[int, int], tmp_path: Path) -> None:
    play, steps = SCENES[scene]
    width, height = size
    paper = io.StringIO()
    stage = Stage(tmp_path, steps, lambda clock: LiveScreen(Terminal(), clock))
    with closing(stage.screen) as screen:
        play(stage)
        assert isinstance(screen, LiveScreen)
        Console(file=paper, width=width, height=height, color_system=None).print(screen.live.renderable)
    shown = paper.getvalue()
    assert max(map(cell_len, shown.splitlines())) <= width
    assert shown.count("\n") < height
    same(f"{scene}-{width}x{height}.txt", shown)


@pytest.mark.parametrize("scene", ["failing", "forty"])
def test_the_end_is_as_it_was(scene: str, size: tuple[int, int], tmp_path: Path) -> None:
    play, steps = SCENES[scene]
    terminal = Terminal()
    stage = Stage(tmp_path, steps, lambda clock: LiveScreen(terminal, clock))
    with closing(stage.screen):
        play(stage)
        for name, step in stage.run.steps.items():
            if step.status == "pending":
                stage.end(name, "canceled", 3)
        stage.run.status, stage.run.seconds = "failed", 74
        stage.view.hear(Event.of("run_ended"), stage.run)
    text = terminal.getvalue()
    shown = harmless(text[text.rindex("sandbox-demo  (") :])
    same(f"end-{scene}-{size[0]}x{size[1]}.txt", shown.replace(str(tmp_path), "RUN"))


def test_every_screen_is_of_a_scene() -> None:
    assert {file.name.partition("-")[0] for file in SCREENS.iterdir()} <= {*SCENES, "end"}
