"""What a worker of a parallel step makes of tables: every row is in one mini-batch, and its result as it was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lazily import Lazily

from azdistill.local.in_step.parallel_worker import Source, rows_of

pandas = Lazily("pandas")
ODD = "a\u2028b\u0085c\x0cd\x1ce"


def test_a_line_ends_where_a_line_ends_and_nowhere_else() -> None:
    assert rows_of(pandas.DataFrame({"text": [ODD, "x"]})) == {"count": 2, "lines": [ODD, "x"]}
    assert rows_of(pandas.DataFrame({"text": []})) == {"count": 0, "lines": []}


def test_a_value_with_line_ends_in_it_is_written_as_pandas_writes_it() -> None:
    table = pandas.DataFrame({"text": ["one\ntwo", "a\r\nb", ""]})
    found = rows_of(table)
    assert found["count"] == 3
    assert "".join(f"{line}\n" for line in found["lines"]) == table.to_csv(sep=" ", header=False, index=False)


KEYS: dict[str, tuple[Callable[[], Any], list[str | None]]] = {
    "text": (lambda: ["b", None, "a", "b", float("nan"), "nan"], ["a", "b", "nan", None]),
    "number": (lambda: [2.0, None, 1.0, 2.0], ["1.0", "2.0", None]),
    "time": (
        lambda: [pandas.Timestamp("2026-01-02"), None, pandas.Timestamp("2026-01-01")],
        [*(f"2026-01-0{day} 00:00:00" for day in (1, 2)), None],
    ),
    "category": (lambda: pandas.Categorical(["b", None, "b"], categories=["a", "b"]), ["b", None]),
    "of several kinds": (lambda: ["1", 1, None, 1], ["1", "1", None]),
}


@pytest.mark.parametrize(("make_values", "named"), KEYS.values(), ids=KEYS)
def test_each_row_is_in_the_mini_batch_of_its_key_also_where_that_is_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_values: Callable[[], Any], named: list[str | None]
) -> None:
    values = make_values()
    source = Source({"input": str(tmp_path), "kind": "mltable", "partition_keys": ["key"]})
    monkeypatch.setattr(source, "_is_table", lambda: True)
    source._table = pandas.DataFrame({"key": values, "row": range(len(values))})
    batches = source.split()
    taken = [source.take(batch) for batch in batches]
    assert [batch["count"] for batch in batches] == [len(table) for table in taken]
    assert sorted(row for table in taken for row in table["row"]) == list(range(len(values)))
    assert all(table["key"].nunique() + table["key"].isna().any() == 1 for table in taken)
    assert [batch["key"]["key"] for batch in batches] == named
