"""Write the sandbox's data files: `python examples/sandbox/make_data.py`.

`data/<task>/{train,validation,test}.jsonl`, in the chat format, each row ending in its gold answer. Equal settings
write equal files, and a file that is already right is left untouched.
"""

from __future__ import annotations

import json
from pathlib import Path

from world import SPLITS, TASKS, task_rows

HERE = Path(__file__).parent
COUNTS = {"train": 3000, "validation": 200, "test": 400}
SEED = 7


def main() -> None:
    """Write the files of all five tasks."""
    for task in TASKS:
        for path in write(task, HERE / "data" / task):
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def write(task: str, folder: Path, counts: dict[str, int] | None = None, seed: int = SEED) -> list[Path]:
    """The three files of one task, written where they are missing or different."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for split in SPLITS:
        rows = task_rows(task, split, (counts or COUNTS)[split], seed)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path = folder / f"{split}.jsonl"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
