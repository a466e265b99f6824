"""Runs a parallel step: ``parallel_driver.py ARGUMENTS ...``, settings as JSON in the variable AZDISTILL_PARALLEL.

The input is split into mini-batches, which worker processes take one after another: each imports the entry script,
calls ``init()`` once and ``run(mini_batch)`` for each. A mini-batch that raises, takes too long, ends its worker or
gives back fewer results than it has items is tried again; what then still fails is counted against the thresholds. An
error_threshold of -1 that is written out says that fewer results are meant: one for a whole partition, say. A worker
that ends badly in ``shutdown()`` fails the step, as it may have had more to write. The results go to the
``append_row_to`` file in the order of the mini-batches, whole or not at all. Those that are done are kept in a journal
until then, so that another attempt runs only the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launch import in_background, put, relay  # type: ignore[import-not-found]  # beside this one, where it runs
from parallel_journal import Journal  # type: ignore[import-not-found]  # likewise

#: Arguments that Azure ML's own driver takes out of program_arguments, and that say something here too.
HONOURED = ("error_threshold", "allowed_failed_count", "allowed_failed_percent", "append_row_file_name")
FILE_NAME = "parallel_run_step.txt"
FILES, BYTES = 10, 1 << 20
PROGRESS_EVERY = 0.5


class Stop(Exception):
    """The step cannot succeed any more."""


class Worker:
    """A process that runs the entry script."""

    def __init__(self, number: int, settings: dict[str, Any], arguments: list[str]) -> None:
        answers, self._write = os.pipe()
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._unread = b""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parallel_worker.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(self._write), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._write,),
        )
        os.close(self._write)
        mark = f"[worker {number}] ".encode() if settings["workers"] > 1 else b""
        self._reader = in_background(relay, self.process, mark)

    def ask(self, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """The answer to a request. TimeoutError, or EOFError where the process has ended."""
        try:
            assert self.process.stdin
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise EOFError from None
        until = None if timeout is None else time.monotonic() + timeout
        pieces = [self._unread]
        while b"\n" not in pieces[-1]:
            patience = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._answers], [], [], patience)[0]:
                raise TimeoutError
            chunk = os.read(self._answers.fileno(), 1 << 16)
            if not chunk:
                raise EOFError
            pieces.append(chunk)
        line, self._unread = b"".join(pieces).split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> int:
        """Kill it, and return its exit code."""
        self.process.kill()
        return self.finish()

    def finish(self) -> int:
        """Let it call ``shutdown()`` and end by itself, hand on its last lines, and return its exit code."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        code = self.process.wait()
        self._reader.join(1.0)
        self._answers.close()
        return code


class Driver:
    """The mini-batches of one step, and what came of them."""

    def __init__(self, settings: dict[str, Any], arguments: list[str]) -> None:
        self.settings, self.arguments = settings, arguments
        self.batches: list[dict[str, Any]] = []
        self.results: dict[int, dict[str, Any] | None] = {}
        self.failed_batches = self.failed_items = 0
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stop = ""
        #: Whether what mini-batches gave is all that came of them: what a shutdown() was to write is nowhere else.
        self._whole = True
        self._workers: dict[int, Worker] = {}
        self._progress_at = 0.0
        self.target = results_file(settings)
        self.journal = Journal(settings["journal"], os.environ.get("AZDISTILL_PREVIOUS_ATTEMPT"), self.target)

    def run(self) -> None:
        """All mini-batches; raises Stop where the thresholds do not allow what failed."""
        self.batches = self._split(self._start(0))
        items = sum(batch["count"] for batch in self.batches)
        self.results.update(self.journal.begin(self.batches))
        open_batches = [number for number in range(len(self.batches)) if number not in self.results]
        count = max(1, min(self.settings["workers"], len(open_batches)))
        say(f"{len(self.batches)} mini-batches, {items} items, {count} workers")
        if self.results:
            say(f"{len(self.results)} mini-batches were done by the previous attempt")
        for number in open_batches:
            self._todo.put(number)
        threads = [in_background(self._work, number) for number in range(count)]
        for thread in threads:
            thread.join()
        if not self._whole:
            self.journal.remove()
        if self._stop:
            raise Stop(self._stop)
        if lost := sum(number not in self.results for number in range(len(self.batches))):
            raise Stop(f"{lost} of {len(self.batches)} mini-batches have not been run")
        self._progress(force=True)
        say(
            f"{len(self.batches)} mini-batches: {self.failed_batches} failed; {items} items: {self.failed_items} failed"
        )

    def _start(self, number: int) -> Worker:
        worker = Worker(number, self.settings, self.arguments)
        with self._lock:
            self._workers[number] = worker
            if self._stop:
                worker.process.kill()
        return worker

    def _split(self, worker: Worker) -> list[dict[str, Any]]:
        try:
            answer = worker.ask({"split": True}, None)
        except EOFError:
            raise Stop(f"init() of {self.settings['entry_script']} failed") from None
        if "error" in answer:
            raise Stop(answer["error"])
        batches: list[dict[str, Any]] = answer["batches"]
        return batches

    def _work(self, number: int) -> None:
        """Work through mini-batches until there are none, or the step stops."""
        try:
            worker = self._workers.get(number)
            while not self._stop and (batch := self._next()) is not None:
                worker = self._try(number, worker, batch)
            if worker and self._stop:
                worker.kill()
            elif worker:
                self._finish(number, worker)
        except Exception as error:  # noqa: BLE001 (a full disk, no more processes: its mini-batch would be lost with it)
            self._halt(f"worker {number} cannot go on: {type(error).__name__}: {error}")

    def _next(self) -> int | None:
        try:
            return self._todo.get_nowait()
        except queue.Empty:
            return None

    def _finish(self, number: int, worker: Worker) -> None:
        code = worker.finish()
        # Another's failure ends this one too, and is told then.
        if code and not self._stop:
            self._whole = False
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._halt(f"worker {number} {how}, in shutdown() of {self.settings['entry_script']} or after it")

    def _try(self, number: int, worker: Worker | None, batch: int) -> Worker | None:
        """Run one mini-batch, again where it fails; the worker that is alive afterwards."""
        tries = self.settings["max_retries"] + 1
        best = None
        for attempt in range(1, tries + 1):
            worker = worker or self._start(number)
            answer, why = None, ""
            try:
                answer = worker.ask({"run": self.batches[batch], "index": batch}, self.settings["timeout"])
                why = answer.get("error", "")
            except TimeoutError:
                why = f"run() took longer than {self.settings['timeout']} s"
                worker.kill()
                worker = None
            except EOFError:
                why = f"its worker ended with exit code {worker.kill()}"
                worker = None
            if self._stop:
                return worker
            if answer and "fatal" in answer:
                self._halt(answer["fatal"])
                return worker
            if answer and not why:
                best = answer
                if not self._missing(batch, answer):
                    break
                why = f"run() gave {answer['count']} results for {self.batches[batch]['count']} items"
            say(f"mini-batch {batch}, attempt {attempt} of {tries}: {why}")
        self._keep(batch, best)
        return worker

    def _keep(self, batch: int, answer: dict[str, Any] | None) -> None:
        missing = self._missing(batch, answer)
        with self._lock:
            self.results[batch] = answer
            self.failed_items += missing
            self.failed_batches += missing > 0
            if answer is not None and not missing:
                self.journal.add(batch, answer)
        self._progress()
        self._judge()

    def _missing(self, batch: int, answer: dict[str, Any] | None) -> int:
        """Items of a mini-batch that have failed."""
        count: int = self.batches[batch]["count"]
        if answer is None:
            return count
        return max(0, count - answer["count"]) if self.settings["few_results_fail"] else 0

    def _judge(self) -> None:
        limits = self.settings
        for failed, limit, what in (
            (self.failed_batches, limits["mini_batch_error_threshold"], "mini-batches (mini_batch_error_threshold"),
            (self.failed_items, limits["error_threshold"], "items (error_threshold"),
        ):
            if 0 <= limit < failed:
                self._halt(f"{failed} {what} {limit}) failed")
        percent, limit = 100.0 * self.failed_batches / max(1, len(self.batches)), limits["allowed_failed_percent"]
        if percent > limit:
            self._halt(f"{percent:.0f}% of the mini-batches failed (allowed_failed_percent {limit:g})")

    def _halt(self, why: str) -> None:
        with self._lock:
            self._stop = self._stop or why
            workers = list(self._workers.values())
        for worker in workers:
            worker.process.kill()

    def _progress(self, force: bool = False) -> None:
        path = os.environ.get("AZDISTILL_METRICS_FILE")
        now = time.monotonic()
        with self._lock:
            if not path or (not force and now - self._progress_at < PROGRESS_EVERY):
                return
            self._progress_at = now
            line = {"kind": "progress", "done": len(self.results), "total": len(self.batches), "text": "mini-batches"}
        with open(path, "ab", buffering=0) as file:
            file.write(json.dumps({**line, "rate": None, "eta": None}, allow_nan=False).encode() + b"\n")

    def write(self) -> None:
        """Put the results together, if they are wanted."""
        if not self.target:
            return
        draft = f"{self.target}.part"
        with open(draft, "w", encoding="utf-8", newline="") as file:
            for batch in range(len(self.batches)):
                answer = self.results.get(batch)
                for line in answer["lines"] if answer else []:
                    file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.target)


def results_file(settings: dict[str, Any]) -> str | None:
    """The file that the results are put into; None where they are not wanted."""
    target: str | None = settings["append_row_to"]
    return os.path.join(target, settings["append_row_file_name"]) if target and os.path.isdir(target) else target


def say(text: str) -> None:
    put(f"[parallel] {text}\n".encode())


def with_arguments(arguments: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """``settings`` with what the arguments say in Azure ML's place of them; they stay the script's own too."""
    changed = dict(settings)
    for position, word in enumerate(arguments):
        name, _, value = word[2:].partition("=") if word.startswith("--") else ("", "", "")
        value = value or (arguments[position + 1] if position + 1 < len(arguments) else "")
        if name not in HONOURED:
            continue
        try:
            if name == "append_row_file_name":
                changed[name] = os.path.basename(value)
            elif name == "allowed_failed_percent":
                changed[name] = float(value)
            else:
                changed["mini_batch_error_threshold" if name == "allowed_failed_count" else name] = int(value)
                if name == "error_threshold":
                    changed["few_results_fail"] = int(value) >= 0
        except ValueError:
            raise Stop(f"--{name} should be a number, not '{value}'") from None
    return changed


def main() -> int:
    settings = {"allowed_failed_percent": 100.0, "append_row_file_name": FILE_NAME}
    settings.update(json.loads(os.environ["AZDISTILL_PARALLEL"]))
    try:
        driver = Driver(with_arguments(sys.argv[1:], settings), sys.argv[1:])
        driver.run()
        driver.write()
        driver.journal.remove()
    except Stop as stop:
        say(f"error: {stop}")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
