"""Draw docs/images/architecture.svg from the arrows of tests/test_imports.py, or with --check fail on drift."""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from test_imports import ARROWS, LEAVES

PICTURE = Path(__file__).with_name("images") / "architecture.svg"
WIDTH, HEIGHT = 920, 700
BOX = (190, 46)
#: part -> (the middle of its box, what it does). What nothing else is drawn for: the package itself and its leaves.
PLACES: dict[str, tuple[int, int, str]] = {
    "cli": (480, 45, "the verbs of the command line"),
    "client": (370, 130, "MLClient, DistillationJob"),
    "project": (800, 130, "what azdistill init writes"),
    "local": (130, 215, "runs any pipeline here"),
    "cloud": (480, 215, "submits; imports azure.*"),
    "compile": (480, 300, "recipe -> pipeline"),
    "assets": (800, 470, "where components lie"),
    "recipe": (370, 385, "what a person writes"),
    "sizing": (590, 385, "memory, machines, prices"),
    "catalog": (480, 470, "known teachers and students"),
    "aml": (130, 470, "Azure ML YAML, and its checks"),
}
UNDRAWN = {"", "__main__", *LEAVES}
STAGES = ("data", "teacher", "student", "evaluation", "release", "operations")
OPENING = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"
     font-family="system-ui, sans-serif" text-anchor="middle">
<title>Which part of azdistill imports which</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"
  ><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>"""


def draw() -> str:
    """The picture. An error where a part has no place in it, or a place no part."""
    if set(PLACES) != set(ARROWS) - UNDRAWN:
        raise SystemExit(f"give each part a place in {__file__}: {sorted(set(PLACES) ^ (set(ARROWS) - UNDRAWN))}")
    return "\n".join([OPENING, *_wall(), *_arrows(), *_boxes(), *_leaves(), *_components(), "</svg>", ""])


def _arrows() -> Iterator[str]:
    for part, (x, y, _) in PLACES.items():
        for other in sorted(ARROWS[part] & set(PLACES)):
            start, end = _edges((x, y), PLACES[other][:2])
            yield f'<path d="M{start[0]} {start[1]}L{end[0]} {end[1]}" stroke="#57606a" marker-end="url(#tip)"/>'


def _edges(start: tuple[int, int], end: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where an arrow leaves the one box below and meets the other: its middle, or the nearer part of its edge."""
    half = BOX[0] // 2 - 30
    leave = max(-half, min(half, (end[0] - start[0]) // 4))
    arrive = max(-half, min(half, (start[0] - end[0]) // 4))
    return (start[0] + leave, start[1] + BOX[1] // 2), (end[0] + arrive, end[1] - BOX[1] // 2)


def _boxes() -> Iterator[str]:
    for part, (x, y, does) in PLACES.items():
        colour = "#ddf4ff" if part in ("aml", "local") else "#fff8c5"
        yield _box(x - BOX[0] // 2, y - BOX[1] // 2, *BOX, colour)
        yield _text(x, y - 3, part, size=15, bold=True)
        yield _text(x, y + 14, does)


def _wall() -> Iterator[str]:
    yield '<path d="M248 170V520" stroke="#cf222e" stroke-width="2" stroke-dasharray="6 5"/>'
    yield _text(130, 178, "any Azure ML pipeline")
    yield _text(300, 240, "distillation")


def _leaves() -> Iterator[str]:
    yield _box(35, 530, 850, 36, "#f6f8fa")
    yield _text(460, 552, f"leaves, which every part may import: {', '.join(sorted(LEAVES))}", size=11)


def _components() -> Iterator[str]:
    yield '<path d="M35 583H885" stroke="#cf222e" stroke-width="2" stroke-dasharray="6 5"/>'
    yield _text(460, 602, "azdistill/ above and components/ below meet in YAML, files and exit codes only")
    step = 850 // len(STAGES)
    for number, stage in enumerate(STAGES):
        yield _box(35 + number * step, 614, step - 12, 32, "#dafbe1")
        yield _text(35 + number * step + (step - 12) // 2, 635, stage, size=14, bold=True)
    yield _box(35, 656, 838, 30, "#f6f8fa")
    yield _text(
        454, 676, "common (rows, tasks, secrets, tracking) and modelling (models, chat templates, stored logits)"
    )


def _box(x: int, y: int, width: int, height: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="#57606a"/>'


def _text(x: int, y: int, text: str, *, size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{weight} fill="#1f2328">{escape(text)}</text>'


def main() -> None:
    picture = draw()
    if "--check" not in sys.argv:
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != picture:
        raise SystemExit("docs/images/architecture.svg differs from tests/test_imports.py: run `make docs`, commit it")


main()
