"""Ask a teacher for the answer to every row: many at once, nothing twice, no row lost in silence."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from answer_store import AnswerStore
from chat_api import ChatApi
from common import arguments, tracking
from common.progress import Progress
from common.rows import UNWRITABLE, Row, RowWriter, Tally, read_lines, read_rows, reject, write_summary
from common.secrets import LONG, SecretError, holds_secret, holds_short_secret, know, redact, resolve
from common.step import (
    BadConfig,
    BadData,
    Interrupted,
    Refused,
    StepError,
    Unavailable,
    run_step,
    say,
)
from common.tasks import get_task
from conversation import Answering
from prompting import Prompts
from teacher_client import SECRET, RowFailed, TeacherClient

#: Says what is wrong with the teacher's server, where the step runs one itself; None while it lives.
Health = Callable[[], StepError | None]
HEALTH_EVERY = 1.0
#: Rows that may wait for their next try beside those in flight.
WAITING = 1000
#: Rows that may be answered before one that came in earlier; they are held until they can be written in order.
AHEAD = 20_000


def main() -> None:
    """Run the step."""
    ask(arguments.of(__file__))


def ask(args: argparse.Namespace, health: Health = lambda: None) -> None:
    """Ask for every row of the step's inputs and write its outputs; what ``health`` says ends it early."""
    # What is answered from the store needs no key, and is looked through for it all the same.
    know(args.teacher_key)
    task = get_task(args.task_type)
    prompts = Prompts(task.name, args.strategy, args.prompts, args.max_summary_words)
    teacher = TeacherClient(
        ChatApi(args.api, args.teacher_endpoint, args.teacher_model, _parameters(args)),
        AnswerStore(args.answers, args.teacher_model),
        concurrency=args.concurrency,
        max_retries=args.max_retries,
        timeout=args.timeout,
        max_wait=args.max_wait,
        resolve_key=lambda: _resolve(args.teacher_key),
    )
    how = Answering(teacher, prompts, task, args.strategy, args.turns == "all", args.max_reasks)
    started = time.monotonic()
    run = Run(args, how)
    problem = asyncio.run(run.all(health))
    run.finish(time.monotonic() - started)
    if isinstance(problem, Refused):
        raise Refused(f"{problem} (the key: {args.teacher_key or 'none was given'})")
    if problem is not None:
        raise problem
    run.judge()


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The sampling parameters: what an answer depends on beside its messages."""
    limit = args.max_tokens
    if args.strategy == "chain_of_density":
        # Four summaries and their entities as JSON: about four tokens for each word of each summary.
        needed = 16 * args.max_summary_words
        if limit < needed:
            say(f"max_tokens is {needed} (not {limit}): chain of density writes four summaries in one answer")
            limit = needed
    parameters = {"temperature": args.sampling_temperature, "top_p": args.top_p, "max_tokens": limit}
    return {**parameters, "stop": _stops(args.stop)} if args.stop else parameters


def _stops(text: str) -> list[str]:
    """One stop sequence, or a JSON list of them."""
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    return [text]


def _resolve(reference: str | None) -> tuple[str, bool] | None:
    if reference is None:
        return None
    try:
        return resolve(reference), reference.strip("${} ").startswith("entra")
    except SecretError as error:
        raise (Refused if error.refused else BadConfig)(str(error)) from None


class Ordered:
    """Writes rows in the order they came in, though they are answered in another."""

    def __init__(self, path: Path, rejects: RowWriter) -> None:
        self.tally = Tally()
        self._rejects = rejects
        self._out = RowWriter(path).__enter__()
        self._next = 0
        self._early: dict[int, Row] = {}
        self._moved = asyncio.Event()

    def put(self, number: int, row: Row) -> None:
        """The outcome of row ``number`` (from 0): a teacher row, or a reject."""
        self._early[number] = row
        while self._next in self._early:
            self._write(self._early.pop(self._next))
            self._next += 1
            self._moved.set()

    async def near(self, number: int) -> None:
        """Wait until row ``number`` is no more than AHEAD rows before the first that has no outcome yet."""
        while number - self._next >= AHEAD:
            self._moved.clear()
            await self._moved.wait()

    def _write(self, row: Row) -> None:
        if "reason" in row:
            self.tally.reasons[row["reason"]] += 1
            self._rejects.write(row)
        else:
            self.tally.kept += 1
            self._out.write(row)

    def close(self) -> None:
        assert not self._early, f"{len(self._early)} rows were not written"
        self._out.__exit__(None, None, None)


class Run:
    """One run over the rows of both files."""

    def __init__(self, args: argparse.Namespace, how: Answering) -> None:
        self.args = args
        self.how = how
        self.inputs = {"train": args.rows}
        if args.validation_rows:
            self.inputs["validation"] = args.validation_rows
        self.total = sum(1 for path in self.inputs.values() for _ in read_lines(path))
        if not self.total:
            raise BadData(f"{args.rows} holds no rows")
        self.rejects = RowWriter(args.rejects).__enter__()
        self.out = {split: Ordered(getattr(args, split), self.rejects) for split in ("train", "validation")}
        self._jobs = self._numbered()
        self._workers: list[asyncio.Task[None]] = []
        self._stopped: StepError | None = None
        self._short_secret_seen = False
        self._progress = Progress(self.total, f"asking {args.teacher_model}")

    def _numbered(self) -> Iterator[tuple[str, int, Row]]:
        for split, path in self.inputs.items():
            for number, row in enumerate(read_rows(path)):
                self.out[split].tally.read += 1
                yield split, number, row

    async def all(self, health: Health = lambda: None) -> StepError | None:
        """Answer every row. Returns the error that ended it early, if any; the rows left are rejected as not asked."""
        loop = asyncio.get_running_loop()
        # Only the main thread of a process may handle signals.
        for name in (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ():
            loop.add_signal_handler(name, self._stop, Interrupted("stopped; the answers so far are kept"))
        async with self.how.teacher:
            with self._progress:
                # More workers than places: a row that waits before its next try holds no place in flight.
                count = min(self.total, 2 * self.args.concurrency + WAITING)
                self._workers = [asyncio.create_task(self._work()) for _ in range(count)]
                watch = asyncio.create_task(self._watch(health))
                await asyncio.wait(self._workers)
                watch.cancel()
        self._stopped = self._stopped or self.how.teacher.unsettled()
        for worker in self._workers:
            if not worker.cancelled() and (error := worker.exception()):
                raise error
        for split, number, row in self._jobs:
            self._reject(split, number, row, "not_asked", str(self._stopped))
        return self._stopped

    async def _watch(self, health: Health) -> None:
        while (error := health()) is None:
            await asyncio.sleep(HEALTH_EVERY)
        self._stop(error)

    async def _work(self) -> None:
        try:
            for split, number, row in self._jobs:
                await self._answer(split, number, row)
                if self._stopped is not None:
                    return
        except StepError as error:
            self._stop(error)

    async def _answer(self, split: str, number: int, row: Row) -> None:
        try:
            await self.out[split].near(number)
            answered = await self.how.answer(row)
        except RowFailed as failed:
            reason = "not_asked" if self._stopped else failed.reason
            self._reject(split, number, row, reason, failed.detail)
            self._progress.update(text=self._numbers())
        except (StepError, asyncio.CancelledError) as error:
            self._reject(split, number, row, "not_asked", str(self._stopped or error))
            raise
        else:
            self._accept(split, number, answered.row)
            if answered.reused:
                self._progress.found()
            else:
                self._progress.update(text=self._numbers())

    def _accept(self, split: str, number: int, row: Row) -> None:
        """Hand a teacher row on, unless it holds a secret: its question may, too."""
        if holds_secret(row):
            self._reject(split, number, row, SECRET, "the row holds the teacher's key, in some spelling")
            return
        if not self._short_secret_seen and holds_short_secret([row["response"], row["reasoning"]]):
            self._short_secret_seen = True
            say(
                f"warning: row {number + 1} of {self.inputs[split]} is answered with the teacher's key in it; a key of "
                f"fewer than {LONG} characters may stand there by chance, and no row is rejected for it"
            )
        self.out[split].put(number, row)

    def _stop(self, error: StepError) -> None:
        """The first error ends the run; requests in flight are dropped."""
        if self._stopped is not None:
            return
        self._stopped = error
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()

    def _reject(self, split: str, number: int, row: Row, reason: str, detail: str) -> None:
        file, detail = str(self.inputs[split]), UNWRITABLE.sub("\ufffd", redact(detail))
        kept = {name: row[name] for name in ("id",) if not holds_secret(row[name])} if holds_secret(row) else row
        self.out[split].put(number, reject(reason, detail, file=file, line=number + 1, row=kept))

    def _numbers(self) -> str:
        counts = self.how.teacher.counts
        tokens = f"{counts.completion_tokens} tokens"
        return tokens + (f", {counts.retries} retries" if counts.retries else "")

    def finish(self, seconds: float) -> None:
        """Close the files, write the summary, log the metrics."""
        for out in self.out.values():
            out.close()
        self.rejects.__exit__(None, None, None)
        tallies = {split: self.out[split].tally for split in self.inputs}
        counts = {**vars(self.how.teacher.counts), "seconds": round(seconds, 3)}
        read, self.kept = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("read", "kept"))
        self.ratio = self.kept / read if read else 0.0
        self.reasons = write_summary(
            self.args.summary,
            "teacher_inference",
            tallies,
            teacher=self.args.teacher_model,
            strategy=self.args.strategy,
            success_ratio=self.ratio,
            **counts,
        )["reasons"]
        tracking.log_metrics({**counts, "success_ratio": self.ratio, "rows_kept": self.kept, "rows_in": read})
        say(
            f"{read} rows in, {self.kept} kept, {read - self.kept} rejected; {counts['requests']} requests, "
            f"{counts['retries']} of them again, {counts['reused']} answers reused, {seconds:.1f} s"
        )
        if self.reasons:
            say("rejected: " + ", ".join(f"{reason} {count}" for reason, count in self.reasons.items()))

    def judge(self) -> None:
        """Say what was lost, and fail where too few rows were answered. Raises Unavailable."""
        if self.ratio < self.args.min_success_ratio:
            raise Unavailable(
                f"{self.ratio:.1%} of the rows were answered, min_success_ratio asks for "
                f"{self.args.min_success_ratio:.1%}; the answers so far are kept, the next run asks for the rest only"
            )
        if self.reasons:
            why = ", ".join(f"{reason} {count}" for reason, count in self.reasons.items())
            say(f"warning: {sum(self.reasons.values())} rows have no answer, and are among the rejects: {why}")


if __name__ == "__main__":
    run_step(main)
