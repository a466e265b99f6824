"""How many answers a second: our teacher client beside the `openai` package, in one run, against one loopback server.

    python benchmarks/teacher_client.py [--rows 2000] [--concurrency 64] [--delay 0.02] [--rounds 3]

Ours journals every answer to disk; the others only ask. The server runs in a process of its own and answers after
``delay`` seconds. Rounds are interleaved; the table shows medians and the range. Peers that are not installed are
left out. A last block shows what congestion costs: a server that takes 8 at once and refuses the rest with 429.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "components"), str(ROOT / "components/teacher/teacher_inference")]

from answer_store import AnswerStore  # noqa: E402  (after the path is set)
from chat_api import ChatApi  # noqa: E402
from teacher_client import TeacherClient  # noqa: E402

Ask = Callable[[str, argparse.Namespace], Awaitable[int]]


def serve(ready: multiprocessing.connection.Connection, delay: float, most: int) -> None:
    """A server that answers after ``delay`` seconds, at most ``most`` at once; sends its port through ``ready``."""
    from aiohttp import web

    in_flight = 0
    answer = {"choices": [{"message": {"role": "assistant", "content": "42 " * 50}, "finish_reason": "stop"}]}
    body = json.dumps({**answer, "usage": {"prompt_tokens": 100, "completion_tokens": 50}}).encode()

    async def handle(request: web.Request) -> web.Response:
        nonlocal in_flight
        await request.read()
        if in_flight >= most:
            return web.json_response({"error": {"message": "busy"}}, status=429, headers={"retry-after-ms": "20"})
        in_flight += 1
        try:
            await asyncio.sleep(delay)
        finally:
            in_flight -= 1
        return web.Response(body=body, content_type="application/json")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def prompts(count: int) -> list[list[dict[str, str]]]:
    """As many different questions."""
    return [
        [{"role": "user", "content": f"Question {n}: " + "what is the answer to this? " * 20}] for n in range(count)
    ]


async def ours(url: str, args: argparse.Namespace) -> int:
    """azdistill's client, its store on disk. Returns how many were answered."""
    parameters = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 64}
    with tempfile.TemporaryDirectory() as folder:
        teacher = TeacherClient(
            ChatApi("chat_completions", url, "m", parameters),
            AnswerStore(Path(folder), "m"),
            concurrency=args.concurrency,
            max_retries=8,
            timeout=60,
            resolve_key=lambda: None,
        )
        async with teacher:
            questions = iter(prompts(args.rows))
            answered = 0

            async def work() -> None:
                nonlocal answered
                for messages in questions:
                    await teacher.ask(messages)
                    answered += 1

            await asyncio.gather(*(work() for _ in range(2 * args.concurrency)))
        return answered


async def openai_client(url: str, args: argparse.Namespace, http: object = None) -> int:
    """The openai package behind a semaphore. Returns how many were answered; the others were given up."""
    import openai

    options = {"http_client": http} if http is not None else {}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=8, **options) as client:
        places = asyncio.Semaphore(args.concurrency)

        async def ask(messages: list[dict[str, str]]) -> bool:
            async with places:
                try:
                    await client.chat.completions.create(model="m", messages=messages, temperature=0, max_tokens=64)
                except openai.OpenAIError:
                    return False
            return True

        return sum(await asyncio.gather(*(ask(messages) for messages in prompts(args.rows))))


async def openai_aiohttp(url: str, args: argparse.Namespace) -> int:
    """The same with its aiohttp transport."""
    import openai

    return await openai_client(url, args, openai.DefaultAioHttpClient())


def peers() -> dict[str, Ask]:
    """Ours, and those that are installed."""
    found: dict[str, Ask] = {"azdistill": ours}
    try:
        import openai
    except ImportError:
        return found
    found["openai"] = openai_client
    try:
        openai.DefaultAioHttpClient()
    except (RuntimeError, ImportError):
        return found
    return {**found, "openai + aiohttp": openai_aiohttp}


def measure(title: str, args: argparse.Namespace, most: int) -> None:
    """Run every peer ``rounds`` times, interleaved, and print a table."""
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, args.delay, most), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}"
    seconds: dict[str, list[float]] = {}
    answered: dict[str, int] = {}
    for _ in range(args.rounds):
        for name, ask in peers().items():
            began = time.perf_counter()
            answered[name] = asyncio.run(ask(url, args))
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    server.terminate()
    server.join()
    print(f"\n{title}: {args.rows} rows, {args.concurrency} in flight, {args.delay * 1000:g} ms an answer")
    print(f"{'client':<20}{'answers/s':>10}{'range':>16}{'answered':>10}{'ratio':>8}")
    reference = statistics.median(seconds["azdistill"])
    for name, times in seconds.items():
        rates = sorted(answered[name] / value for value in times)
        ratio = statistics.median(times) / reference
        span = f"{rates[0]:.0f}-{rates[-1]:.0f}"
        print(f"{name:<20}{statistics.median(rates):>10.0f}{span:>16}{answered[name]:>10}{ratio:>8.2f}")


def main() -> None:
    """Run both blocks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    measure("A server that takes all", args, most=100_000)
    args.rows = min(args.rows, 500)
    measure("A server that takes 8 at once, 429 for the rest", args, most=8)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
