"""The best trial's outputs and metrics, handed to the sweep step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from azdistill import strict_json
from azdistill.local.store.durable_files import walk_files
from azdistill.local.sweep.trial import Trial
from azdistill.permissions import copy_file


def hand_over(best: Trial, places: Mapping[str, Path], standing: frozenset[str], metrics: Path) -> None:
    """Put the outputs of ``best`` at ``places`` and write its metrics, and its hyperparameters, into ``metrics``.

    Files are linked, so that a model does not lie on the disk twice; a ``standing`` place gets copies.
    """
    for name, place in places.items():
        source = best.outputs[name]
        if source.is_dir():
            for relative, file in walk_files(source):
                (place / relative).parent.mkdir(parents=True, exist_ok=True)
                _put(file, place / relative, copy=name in standing)
        else:
            _put(source, place, copy=name in standing)
    _write_metrics(best, metrics)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    if copy:
        copy_file(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        copy_file(source, target)


def _write_metrics(best: Trial, metrics: Path) -> None:
    given = [
        *({"kind": "param", "name": name, "value": text} for name, text in best.state.hyperparameters.items()),
        {"kind": "tag", "name": "azdistill.best_trial", "value": str(best.number)},
    ]
    with open(metrics, "a", encoding="utf-8") as file:
        if best.metrics and best.metrics.is_file():
            file.write(best.metrics.read_text(encoding="utf-8", errors="surrogateescape"))
        file.writelines(strict_json.dumps(record) + "\n" for record in given)
