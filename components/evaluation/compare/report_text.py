"""The comparison as a table of plain text, and as Markdown."""

from __future__ import annotations

from typing import Any

import labels as wording
from comparison import COLUMNS
from report_rows import conclusions, table_rows, texts_measured


def table(result: dict[str, Any]) -> str:
    """What is printed: a table that fits a terminal, and the conclusions."""
    names = [name for name in COLUMNS if result[name]]
    head = ["", *(wording.NAMES[name] for name in names), *_change_heads(result)]
    body = [
        [row.name, *(cell.value for cell in row.cells), *(change.text for change in row.changes)]
        for row in table_rows(result)
    ]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths) for row in body]
    return "\n".join([result["title"], "", *lines, "", *conclusions(result)])


def _line(cells: list[str], widths: list[int]) -> str:
    first, *numbers = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in numbers)]).rstrip()


def _change_heads(result: dict[str, Any]) -> list[str]:
    return [f"vs {wording.in_text(name)}" for name in result["changes"] if result["distilled"]]


def markdown(result: dict[str, Any]) -> str:
    """report.md."""
    names = [name for name in COLUMNS if result[name]]
    heads = ["", *(wording.NAMES[name] for name in names), *_change_heads(result)]
    lines = [f"# {plain(result['title'])}", "", f"{result['rows']} test rows, task `{result['task']}`.", ""]
    lines += [f"- {plain(line)}" for line in conclusions(result)]
    lines += ["", _cells(heads), _cells(["---", *["---:"] * (len(heads) - 1)])]
    for row in table_rows(result):
        values = [cell.value + (f" ({cell.interval})" if cell.interval else "") for cell in row.cells]
        lines.append(_cells([row.name, *values, *(change.text for change in row.changes)]))
    lines += [
        "",
        "In brackets: 95% intervals. Changes are those of the distilled student.",
        "",
        "| Test | Rows | Difference | p | p (Holm) |",
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for test in result["tests"]:
        name = f"{wording.NAMES[test['first']]} vs {wording.NAMES[test['second']]} ({wording.test_name(test['test'])})"
        difference = (
            f"{100 * test['difference']:+.1f} points ({100 * test['ci'][0]:+.1f} to {100 * test['ci'][1]:+.1f})"
        )
        p_values = [wording.p_value(test["p_value"]), wording.p_value(test["p_value_holm"])]
        lines.append(_cells([name, str(test["rows"]), difference, *p_values]))
    if measured := texts_measured(result):
        lines += ["", measured]
    return "\n".join(lines) + "\n"


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def plain(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    text = " ".join(text.split())
    for mark in ("\\", "|", "<", "*", "_", "`", "[", "!"):
        text = text.replace(mark, "&lt;" if mark == "<" else "\\" + mark)
    return text
