"""Repeat the sandbox's distillation over three seeds and write down every one: `python examples/sandbox/seeds.py`.

Each seed draws its own training and validation rows and trains with its own order of rows; the test rows are the
demo's, opened by each run once, at its end. Beside the models stand answers that need no understanding (`controls.py`)
and a teacher of half the size that had the same lessons. Results: `results.json` and `results.md` beside this file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from math import comb
from pathlib import Path
from typing import Any

from controls import answer, scores
from lazy_teacher import LazyTeacher, Server
from make_data import COUNTS, write
from make_data import SEED as DEMO_SEED
from make_models import SEED as MODEL_SEED
from make_models import make
from run_demo import ROOT, TASK, TEACHER_NAME, one_thread_each, run
from training import answers, load
from world import task_rows

HERE = Path(__file__).parent
SEEDS = (101, 102, 103)
"""Chosen before any of them was run; none is left out."""
OUT = ROOT / "runs" / "seeds"
MANY_ROWS = 2000
"""Test rows on which the two teachers are compared: their difference is of a few points."""
MODELS = ("teacher", "baseline", "distilled", "gold_sft")


def main() -> None:
    """Run the three distillations, the controls and the half-size teacher, and write the results."""
    started = time.monotonic()
    os.chdir(ROOT)
    one_thread_each()
    with LazyTeacher(lambda: Server(HERE / "teacher", TEACHER_NAME, OUT / "teacher-server.log")) as teacher:
        runs = {seed: distil(seed, teacher.endpoint) for seed in SEEDS}
    results = {
        "test_rows": COUNTS["test"],
        "training_rows": COUNTS["train"],
        "seeds": {str(seed): shortened(comparison) for seed, comparison in runs.items()},
        "controls": {str(seed): controls_of(seed) for seed in SEEDS},
        "teachers": teachers(),
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (HERE / "results.md").write_text(page(results), encoding="utf-8")
    print(page(results))


def distil(seed: int, endpoint: str) -> dict[str, Any]:
    """One run of the demo's recipe with this seed's rows; its comparison."""
    print(f"seed {seed}", flush=True)
    train, validation, _ = write(TASK, HERE / "data" / f"{TASK}-{seed}", seed=seed)
    out = OUT / str(seed)
    settings = {"training_data": train, "validation_data": validation, "hyperparameters.seed": seed}
    status = run(endpoint, out, *(f"--set={name}={value}" for name, value in settings.items()))
    if status != 0:
        sys.exit(status)
    found: dict[str, Any] = json.loads((out / "report" / "comparison.json").read_text(encoding="utf-8"))
    return found


def shortened(comparison: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a comparison that the results keep."""
    keys = ("retention", "latency_reduction", "memory_reduction", "p_value_distilled_vs_baseline")
    columns = ("accuracy", "latency_ms_p50", "latency_ms_p95", "throughput", "weights_bytes", "parameters")
    return {
        **{key: comparison[key] for key in keys},
        **{name: {column: comparison[name][column] for column in columns} for name in MODELS},
    }


def controls_of(seed: int) -> dict[str, float]:
    """The accuracy of each control, given the rows that this seed's student learnt from."""
    return scores(task_rows(TASK, "train", COUNTS["train"], seed), task_rows(TASK, "test", COUNTS["test"], DEMO_SEED))


def teachers() -> dict[str, Any]:
    """The teacher and one of half its size with the same lessons, on the same many test rows."""
    if not (OUT / "half_teacher" / "model.safetensors").exists():
        make("half_teacher", OUT, MODEL_SEED)
    rows = task_rows(TASK, "test", MANY_ROWS, DEMO_SEED)
    right, sizes = {}, {}
    for name, folder in (("teacher", HERE / "teacher"), ("half_teacher", OUT / "half_teacher")):
        model, tokenizer = load(folder)
        sizes[name] = sum(weight.numel() for weight in model.parameters())
        made = answers(model, tokenizer, rows)
        right[name] = [text.rpartition("####")[2].strip() == answer(row) for text, row in zip(made, rows, strict=True)]
    return {
        "rows": MANY_ROWS,
        **{name: {"parameters": sizes[name], "accuracy": sum(right[name]) / MANY_ROWS} for name in right},
        "p_value": mcnemar(right["teacher"], right["half_teacher"]),
    }


def mcnemar(first: list[bool], second: list[bool]) -> float:
    """Exact two-sided p-value of McNemar's test (1947): only rows on which the two differ count."""
    only_first = sum(one > other for one, other in zip(first, second, strict=True))
    only_second = sum(other > one for one, other in zip(first, second, strict=True))
    differing = only_first + only_second
    tail = sum(comb(differing, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differing)


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    seeds = list(results["seeds"])
    head = ["", *(f"seed {seed}" for seed in seeds)]
    lines = [
        "# Three seeds",
        "",
        f"Written by `python examples/sandbox/seeds.py` ({results['minutes']} minutes). "
        f"{results['training_rows']} training rows a seed, the same {results['test_rows']} test rows for all.",
        "Times are those of one small machine, of use only beside one another.",
        "",
        *_table(head, [*_measured(results, seeds), *_reductions(results, seeds)]),
        "",
        "Answers that need no understanding, on the same test rows:",
        "",
        *_table(
            head,
            [[name, *(f"{results['controls'][s][name]:.1%}" for s in seeds)] for name in results["controls"][seeds[0]]],
        ),
        "",
        *_about_teachers(results["teachers"]),
    ]
    return "\n".join(lines) + "\n"


def _measured(results: dict[str, Any], seeds: list[str]) -> list[list[str]]:
    shapes = (("accuracy", "{:.1%}"), ("latency_ms_p50", "{:.1f} ms"), ("throughput", "{:.0f} responses/s"))
    return [
        [f"{name}: {measure.partition('_')[0]}", *(shape.format(results["seeds"][s][name][measure]) for s in seeds)]
        for measure, shape in shapes
        for name in MODELS
    ]


def _reductions(results: dict[str, Any], seeds: list[str]) -> list[list[str]]:
    shapes = {
        "retention": ("share of the teacher's accuracy kept", "{:.1%}"),
        "latency_reduction": ("less time per response", "{:.1%}"),
        "memory_reduction": ("less memory for weights", "{:.1%}"),
        "p_value_distilled_vs_baseline": ("p, distilled against baseline", "{:.1g}"),
    }
    return [[title, *(shape.format(results["seeds"][s][key]) for s in seeds)] for key, (title, shape) in shapes.items()]


def _about_teachers(found: dict[str, Any]) -> list[str]:
    rows = [
        [name.replace("_", "-size "), f"{found[name]['parameters']:,}", f"{found[name]['accuracy']:.1%}"]
        for name in ("teacher", "half_teacher")
    ]
    return [
        f"The teacher and one of half its size that had the same lessons, on {found['rows']} test rows "
        f"(McNemar p = {found['p_value']:.1g}):",
        "",
        *_table(["", "parameters", "accuracy"], rows),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


if __name__ == "__main__":
    main()
