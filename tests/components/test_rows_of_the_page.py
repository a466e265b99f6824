"""The rows that docs/recipes.md shows are read as it says."""

import json
import re
from pathlib import Path

import pytest
from cells import Cells
from columns import choose_columns, to_row
from common.tasks import get_task

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
ROWS = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1].splitlines()


@pytest.mark.parametrize("text", ROWS)
def test_a_row_of_the_page_is_read_whole_with_its_gold_answer(text: str) -> None:
    record = json.loads(text)
    task = get_task(
        {"choices": "qa", "premise": "nli"}.get(next(iter(record.keys() & {"choices", "premise"}), ""), "chat")
    )
    cells = Cells(record)
    row = to_row(cells, choose_columns(record, None, None, "rows.jsonl"), task, None)
    assert row["reference"]
    assert row["messages"][-1]["role"] == "user"
    assert cells.unused() == {}
