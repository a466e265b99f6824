"""Drop the teacher's answers that a student should not learn, and count why."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from common import arguments, tracking
from common.rows import Row, RowWriter, Tally, prompt_digest, read_rows, reject, write_summary
from common.step import BadConfig, BadData, run_step, say
from common.tasks import Task, get_task

#: How servers call an answer that came to its end, and the other reasons that are counted under their own name.
_WHOLE = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
_KNOWN = ("length", "content_filter", "tool_calls", "function_call")


@dataclass
class Agreement:
    """How often the teacher agrees with the gold answer, where there is one, whether or not the row was kept."""

    compared: int = 0
    agreed: int = 0

    @property
    def rate(self) -> float | None:
        """The share of compared answers that agree; None when none was compared."""
        return self.agreed / self.compared if self.compared else None


@dataclass
class Curation:
    """The rules for one run."""

    task: Task
    require_agreement: str
    max_words: int | None
    agreement: Agreement = field(default_factory=Agreement)
    _seen: set[bytes] = field(default_factory=set)

    def defect(self, row: Row) -> tuple[str, str] | None:
        """Why a teacher row must not be learnt, as reason and detail; None when it may."""
        response = row.get("response")
        if not isinstance(response, str):
            return "schema", "the row has no response: it was not answered by teacher_inference"
        disagrees = self._disagreement(row, response)
        finish = str(row.get("finish_reason", "stop")).lower()
        if finish not in _WHOLE:
            word = finish if finish in _KNOWN else "other"
            return f"finish_{word}", f"the answer ended for the reason {finish[:60]!r}"
        if reason := self.task.check(row, response, self.max_words):
            return reason, f"the response is {response[:80]!r}"
        if disagrees:
            return disagrees
        digest = prompt_digest(row["messages"])
        if digest in self._seen:
            return "duplicate", "the same messages as an earlier row"
        self._seen.add(digest)
        return None

    def _disagreement(self, row: Row, response: str) -> tuple[str, str] | None:
        gold = row.get("reference")
        answer = self.task.parse(response, row)
        if gold is not None and self.require_agreement != "false" and self.task.reference(gold, row) is None:
            return "reference", f"the task {self.task.name} cannot verify the gold answer {str(gold)[:60]!r}"
        agrees = None if gold is None else self.task.correct(answer, gold)
        if agrees is not None:
            self.agreement.compared += 1
            self.agreement.agreed += agrees
        if self.require_agreement == "false" or agrees:
            return None
        if agrees is None:
            missing = "the row has no reference to agree with"
            return ("no_reference", missing) if self.require_agreement == "true" else None
        if self.require_agreement == "auto" and not self.task.contradicts(answer, gold, row):
            return None
        return "disagreement", f"the teacher says {response[:60]!r}, the gold answer is {str(gold)[:60]!r}"


def main() -> None:
    """Run the step."""
    args = arguments.of(__file__)
    task = get_task(args.task_type)
    if args.require_agreement == "true" and "accuracy" not in task.metrics:
        raise BadConfig(f"require_agreement is 'true', but {task.name} does not define when an answer is correct")
    curation = Curation(task, args.require_agreement, args.max_response_words)
    tallies = {"train": Tally()} | ({"validation": Tally()} if args.validation_rows else {})
    inputs = {"train": args.rows, "validation": args.validation_rows}
    with RowWriter(args.rejects) as rejects:
        for split, path in inputs.items():
            with RowWriter(getattr(args, split)) as out:
                if path is not None:
                    curate(path, curation, tallies[split], out, rejects)
    finish(args, curation, tallies)


def curate(path: Path, curation: Curation, tally: Tally, out: RowWriter, rejects: RowWriter) -> None:
    """Sort the rows of one file into ``out`` and ``rejects``."""
    for number, row in enumerate(read_rows(path), 1):
        tally.read += 1
        if defect := curation.defect(row):
            tally.reasons[defect[0]] += 1
            rejects.write(reject(*defect, file=str(path), line=number, row=row))
        else:
            tally.kept += 1
            out.write(row)


def finish(args: argparse.Namespace, curation: Curation, tallies: dict[str, Tally]) -> None:
    """Write the summary and log the counts. Raises BadData when no training row is left."""
    rate = curation.agreement.rate
    summary = write_summary(
        args.summary,
        "curate",
        tallies,
        task=curation.task.name,
        require_agreement=args.require_agreement,
        agreement=rate,
        agreement_rows=curation.agreement.compared,
    )
    tracking.log_metrics({"rows_in": summary["in"], "rows_kept": summary["kept"], "rows_rejected": summary["rejected"]})
    tracking.log_metrics({f"rejected_{reason}": count for reason, count in summary["reasons"].items()})
    if rate is not None:
        tracking.log_metric("teacher_agreement", rate)
        say(f"the teacher agrees with {rate:.1%} of {curation.agreement.compared} gold answers")
    say(f"{summary['in']} rows in, {summary['kept']} kept, {summary['rejected']} rejected")
    if summary["reasons"]:
        say("rejected: " + ", ".join(f"{reason} {count}" for reason, count in summary["reasons"].items()))
    if not tallies["train"].kept:
        raise BadData(f"no row of {args.rows} is fit to learn from: see {args.rejects}")


if __name__ == "__main__":
    run_step(main)
