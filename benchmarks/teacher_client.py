"""How many answers a second: our teacher client beside a bare loop and the `openai` package, in one run.

    pip install "openai[aiohttp]" pyyaml    # in an environment of its own; peers that are not installed are left out
    python benchmarks/teacher_client.py [--rounds 3] [--in-flight 16 64 256] [--limits only|no]

A server in a process of its own answers after a latency (lognormal, sigma 0.2) and refuses some requests: scattered (1
and 5%, 429 and 503, with and without `Retry-After: 1`), or by a real limit (60 a second with a bucket of 60; 8 at once;
both with `Retry-After: 1`). Every client asks different questions without end; the answers that it got between a
warm-up and the end of its time are counted, under a limit those of its first minute; a limit at once is what the server
could give in the time that its answers really took. Rounds take turns; a cell is the median. Where a cell leaves the
processor idle (500 ms, a limit), clients are measured at the same time, each in a process of its own and against counts
of its own.

What is equal: the questions, requests in flight, the server. What is not: ours journals every answer to disk; the bare
loop (aiohttp, refused requests wait without a place, nothing else) does so in its second row only; the `openai`
package waits for a retry in the place of its request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "components"), str(ROOT / "components/teacher/teacher_inference")]

from answer_store import AnswerStore  # noqa: E402  (after the path is set)
from chat_api import ChatApi  # noqa: E402
from teacher_client import TeacherClient  # noqa: E402

MESSAGE = {"role": "assistant", "content": "42 " * 50}
USAGE = {"prompt_tokens": 100, "completion_tokens": 50}
ANSWER = {"choices": [{"message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE}


@dataclass(frozen=True)
class Cell:
    """What a server does. ``share`` of the requests are refused, those beyond ``rate`` a second and ``places`` too."""

    latency: float
    in_flight: int
    share: float = 0.0
    status: int = 429
    header: bool = True
    rate: float = 0.0
    places: int = 0

    @property
    def name(self) -> str:
        """What is said of it in a table."""
        header = ", Retry-After: 1" if self.header else ""
        if self.rate or self.places:
            return f"{self.rate:g} a second{header}" if self.rate else f"{self.places} at once{header}"
        return f"{self.share:.0%} {self.status}{header}" if self.share else "no refusals"

    @property
    def limit(self) -> float:
        """Answers a second that the server means to give at most; 0 for no limit."""
        return self.rate or self.places / self.latency

    def real_limit(self, counts: dict[str, float]) -> float:
        """What it gives at most on this machine, where a place is taken a little longer than an answer is to take."""
        return self.rate or self.places * counts["answered"] / max(counts["busy"], 1e-9)

    @property
    def times(self) -> tuple[float, float]:
        """Seconds to warm up, and to measure. A limit is measured from the start, its refusals too."""
        if self.limit:
            return 0.0, 60.0
        return (2.0, 2.0) if self.latency < 0.1 else (4.0, 3.0)


# -- the server -------------------------------------------------------------------------------------------------------


class Server:
    """Answers and refuses as the cell in the path says; counts by the run in the path."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.body = json.dumps(ANSWER).encode()
        self.runs: dict[str, dict[str, float]] = {}

    async def handle(self, request: Any) -> Any:
        from aiohttp import web

        run = request.match_info["run"]
        state = self.runs.get(run)
        if state is None:
            cell = json.loads(bytes.fromhex(request.match_info["cell"]))
            state = self.runs[run] = {**cell, "open": 0, "answered": 0, "refused": 0, "tokens": 60, "at": time.time()}
            state["busy"] = 0.0
        try:
            await request.read()
        except ConnectionResetError:  # a client at the end of its time
            return web.Response(status=400)
        if not self.takes(state):
            state["refused"] += 1
            headers = {"Retry-After": "1"} if state["header"] else {}
            return web.json_response({"error": {"message": "busy"}}, status=int(state["status"]), headers=headers)
        state["open"] += 1
        began = time.perf_counter()
        try:
            await asyncio.sleep(state["latency"] * self.random.lognormvariate(-0.02, 0.2))
        finally:
            state["open"] -= 1
            state["busy"] += time.perf_counter() - began
        state["answered"] += 1
        return web.Response(body=self.body, content_type="application/json")

    def takes(self, state: dict[str, float]) -> bool:
        """Whether a request is taken now."""
        if self.random.random() < state["share"] or (state["places"] and state["open"] >= state["places"]):
            return False
        if state["rate"]:
            now = time.time()
            state["tokens"] = min(60, state["tokens"] + (now - state["at"]) * state["rate"])
            state["at"] = now
            if state["tokens"] < 1:
                return False
            state["tokens"] -= 1
        return True

    async def counts(self, request: Any) -> Any:
        from aiohttp import web

        state = self.runs[request.match_info["run"]]
        return web.json_response({name: state[name] for name in ("answered", "refused", "busy")})


def serve(ready: Connection) -> None:
    """Run the server; sends its port through ``ready``."""
    from aiohttp import web

    async def main() -> None:
        server, app = Server(), web.Application()
        app.router.add_post("/{run}/{cell}/v1/chat/completions", server.handle)
        app.router.add_get("/{run}/counts", server.counts)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


# -- the clients ------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """Answers so far."""

    answered: int = 0


Client = Callable[[str, int, Count], Awaitable[None]]


def questions() -> Iterator[list[dict[str, str]]]:
    """Different questions without end."""
    number = 0
    while True:
        yield [{"role": "user", "content": f"Question {number}: " + "what is the answer to this? " * 20}]
        number += 1


async def ours(url: str, in_flight: int, count: Count) -> None:
    """azdistill's client, its store on disk."""
    with tempfile.TemporaryDirectory() as folder:
        teacher = TeacherClient(
            ChatApi("chat_completions", f"{url}/v1", "m", {"temperature": 0.0, "top_p": 1.0, "max_tokens": 64}),
            AnswerStore(Path(folder), "m"),
            concurrency=in_flight,
            max_retries=8,
            timeout=60,
            resolve_key=lambda: None,
        )
        rows = questions()

        async def work() -> None:
            for messages in rows:
                await teacher.ask(messages)
                count.answered += 1

        async with teacher:
            await asyncio.gather(*(work() for _ in range(2 * in_flight + 1000)))


async def bare(url: str, in_flight: int, count: Count, journal: Any = None) -> None:
    """aiohttp in a loop: nothing but asking, and asking again."""
    rows, again, waiting = questions(), deque[tuple[list[dict[str, str]], int]](), set[asyncio.Task[None]]()
    connector = aiohttp.TCPConnector(limit=0)

    async def later(messages: list[dict[str, str]], tries: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        again.append((messages, tries))

    async def work(session: aiohttp.ClientSession) -> None:
        while True:
            messages, tries = again.popleft() if again else (next(rows), 0)
            body = {"model": "m", "messages": messages, "temperature": 0, "max_tokens": 64}
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                raw = await response.read()
            if response.status == 200:
                answer = json.loads(raw)
                if journal:
                    journal.write(json.dumps(answer).encode() + b"\n")
                count.answered += 1
                continue
            asked = response.headers.get("Retry-After")
            wait = float(asked) if asked else random.uniform(0, min(30.0, 0.5 * 2 ** (tries + 1)))
            task = asyncio.create_task(later(messages, tries + 1, wait))
            waiting.add(task)
            task.add_done_callback(waiting.discard)

    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            await asyncio.gather(*(work(session) for _ in range(in_flight)))
        finally:
            for task in list(waiting):
                task.cancel()


async def bare_journal(url: str, in_flight: int, count: Count) -> None:
    """The bare loop, each answer written to disk before it counts."""
    with tempfile.TemporaryFile(buffering=0) as journal:
        await bare(url, in_flight, count, journal)


async def openai_client(url: str, in_flight: int, count: Count, http: Any = None) -> None:
    """The openai package."""
    import openai

    options = {"http_client": http} if http is not None else {}
    rows = questions()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=8, **options) as client:

        async def work() -> None:
            for messages in rows:
                with contextlib.suppress(openai.OpenAIError):
                    await client.chat.completions.create(model="m", messages=messages, temperature=0, max_tokens=64)
                    count.answered += 1

        await asyncio.gather(*(work() for _ in range(in_flight)))


async def openai_aiohttp(url: str, in_flight: int, count: Count) -> None:
    """The same with its aiohttp transport."""
    import openai

    await openai_client(url, in_flight, count, openai.DefaultAioHttpClient())


def clients() -> dict[str, Client]:
    """Ours, the bare loops, and the peers that are installed."""
    present: dict[str, Client] = {"bare": bare, "bare + journal": bare_journal, "ours": ours}
    try:
        import openai
    except ImportError:
        return present
    present["openai"] = openai_client
    with contextlib.suppress(RuntimeError, ImportError):
        openai.DefaultAioHttpClient()
        present["openai + aiohttp"] = openai_aiohttp
    return present


# -- measuring --------------------------------------------------------------------------------------------------------


def cells(in_flight: list[int]) -> list[Cell]:
    """Every cell of the tables."""
    every = []
    for latency in (0.05, 0.5):
        for places in in_flight:
            every.append(Cell(latency, places))
            every += [
                Cell(latency, places, share, status, header)
                for share in (0.01, 0.05)
                for status in (429, 503)
                for header in (True, False)
            ]
            every += [Cell(latency, places, rate=60.0)] if places / latency > 60 else []
            every += [Cell(latency, places, places=8)] if places > 8 else []
    return every


#: Clients that keep a processor busy at 256 requests in flight, or, as they hold nobody back, under a limit.
BUSY = ("openai",)
UNLIMITED = ("bare", "bare + journal")


def turns(cell: Cell, names: list[str]) -> list[list[str]]:
    """Which clients are measured at the same time, and which after them. Under a limit the goal is the limit."""
    if cell.limit:
        return [[name for name in names if name not in UNLIMITED]]
    if cell.latency < 0.1:
        return [[name] for name in names]
    apart = [name for name in names if name in BUSY and cell.in_flight > 100]
    return [[name for name in names if name not in apart], *([name] for name in apart)]


def measure(base: str, run: str, cell: Cell, name: str) -> tuple[float, float, float]:
    """Answers a second of the client ``name``, the share of its requests that was refused, and the server's limit."""
    client = clients()[name]
    about = {name: getattr(cell, name) for name in ("latency", "share", "status", "header", "rate", "places")}
    url = f"{base}/{run}/{json.dumps(about).encode().hex()}"
    count = Count()

    async def timed() -> float:
        task = asyncio.ensure_future(client(url, cell.in_flight, count))
        await asyncio.sleep(cell.times[0])
        before, began = count.answered, time.perf_counter()
        await asyncio.wait([task], timeout=cell.times[1])
        rate = (count.answered - before) / (time.perf_counter() - began)
        if task.done():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # what a client says when it is stopped
            await task
        return rate

    rate = asyncio.run(timed())
    with urllib.request.urlopen(f"{base}/{run}/counts") as response:
        counts = json.loads(response.read())
    return rate, counts["refused"] / max(1, counts["refused"] + counts["answered"]), cell.real_limit(counts)


def goal(limit: float, rates: dict[str, float], free: dict[str, float]) -> float:
    """What ours is measured by: the limit, or the lower of the bare loop's rate and of our own without refusals."""
    return limit or min(rates.get("bare", 0.0), free.get("ours", rates.get("ours", 0.0)))


def row(
    cell: Cell, names: list[str], rates: dict[str, float], refused: float, limit: float, free: dict[str, float]
) -> str:
    """One line of the table."""
    reached = rates.get("ours", 0.0) / (goal(limit, rates, free) or 1.0)
    best = max((rates[name] for name in rates if name.startswith("openai")), default=0.0)
    shown = [f"{rates[name]:.0f}" if name in rates else "" for name in names]
    peer = f"{rates.get('ours', 0.0) / best:.1f}" if best else ""
    share = f"{refused:.1%}" if cell.limit else ""
    first = f"{cell.latency * 1000:g} ms, {cell.in_flight}, {cell.name}"
    return f"| {first} | " + " | ".join([*shown, f"{reached:.2f}", peer, share]) + " |"


#: The value of --limits that leaves out cells without a limit, and with one.
_OTHER = ("only", "no")


def main() -> None:
    """Measure every cell and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--limits", choices=("only", "no"), help="the cells with a real limit only, or none of them")
    parser.add_argument("--clients", nargs="+", help="leave the other clients out")
    args = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{mine.recv()}"
    present = {name: client for name, client in clients().items() if not args.clients or name in args.clients}
    print("| latency, in flight, server | " + " | ".join(present) + " | of the goal | of the best peer | refused |")
    print("|---|" + "--:|" * (len(present) + 3), flush=True)
    pool = ProcessPoolExecutor(len(present))
    free: dict[str, float] = {}
    for number, cell in enumerate(cell for cell in cells(args.in_flight) if args.limits != _OTHER[bool(cell.limit)]):
        seen: dict[str, list[tuple[float, float, float]]] = {}
        for turn in range(args.rounds):
            for names in turns(cell, list(present)):
                runs = [f"{number}-{turn}-{name.replace(' ', '')}" for name in names]
                results = pool.map(measure, [base] * len(names), runs, [cell] * len(names), names)
                for name, figures in zip(names, results, strict=True):
                    seen.setdefault(name, []).append(figures)
        rates = {name: statistics.median(rate for rate, _, _ in values) for name, values in seen.items()}
        refused = statistics.median(share for _, share, _ in seen.get("ours", [(0.0, 0.0, 0.0)]))
        limit = statistics.median(limit for _, _, limit in seen.get("ours", [(0.0, 0.0, 0.0)]))
        if not cell.share and not cell.limit:
            free = rates
        print(row(cell, list(present), rates, refused, limit, free), flush=True)
    pool.shutdown()
    server.terminate()
    server.join()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
