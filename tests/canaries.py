"""Secrets that must be nowhere: a pipeline that gives them away in every way it can, and a search for them."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import yaml

#: name -> value: with what URLs, JSON and base64 spell differently, and one that base64 breaks into lines.
SECRETS = {
    "ENV_KEY": "canary-env/p\u00e4ss+word=12 34",
    "INPUT_KEY": 'canary-input-"quoted"\\back&slash',
    "LONG_KEY": "canary-long-" + "".join(f"{number:03d}x" for number in range(60)),
}

_LEAK = """
import base64, json, os, re, sys
from urllib.parse import quote, quote_plus, unquote

def say(text, stream):
    for at in range(0, len(text), 3):
        stream.write(text[at : at + 3])
        stream.flush()
    stream.write(" ")

for name in sys.argv[1:]:
    value = os.environ[name]
    raw = value.encode()
    spelt = [value, quote(value), quote(value, safe=""), quote_plus(value)]
    spelt += [re.sub("%..", lambda found: found[0].lower(), quote(value))]
    spelt += [json.dumps({"key": value}), json.dumps(value, ensure_ascii=False), value[:9] + "\\x1b[1m" + value[9:]]
    spelt += [base64.b64encode(b"Bearer: "[:pad] + raw + b"tail").decode() for pad in (0, 1, 2, 8)]
    spelt += [base64.urlsafe_b64encode(raw).decode(), base64.encodebytes(raw).decode()]
    for text in spelt:
        say(text, sys.stdout)
        say(text, sys.stderr)
    with open(os.environ["AZDISTILL_METRICS_FILE"], "a") as file:
        for text in spelt:
            for kind in ("param", "tag", "metric"):
                record = {"kind": kind, "name": "of " + text, "value": 1, "step": 0, "timestamp": 1}
                file.write(json.dumps(record) + "\\n")
            file.write(json.dumps({"kind": "param", "name": name, "value": text}) + "\\n")
            file.write(json.dumps({"kind": "artifact", "path": "/nowhere/" + text}) + "\\n")
            file.write(json.dumps({"kind": "progress", "done": 1, "total": 2, "text": text}) + "\\n")
if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("file:"):
    # A step that does not name MLflow logs to it in files.
    run = os.path.join(unquote(os.environ["MLFLOW_TRACKING_URI"][7:]), "0", "r")
    for kind in ("params", "tags"):
        os.makedirs(os.path.join(run, kind))
        for number, text in enumerate(spelt):
            with open(os.path.join(run, kind, str(number)), "w") as file:
                file.write(text)
    open(os.path.join(run, "meta.yaml"), "w").close()
print()
print("error[LEAK]: refused:", *(os.environ[name] for name in sys.argv[1:]), file=sys.stderr)
sys.exit(int(os.environ["END"]))
"""


def write_pipeline(folder: Path, environment: Any = "azureml:any@latest", python: str = "python") -> Path:
    """A step that gives everything away and completes, and one that does so and fails."""
    (folder / "code").mkdir()
    (folder / "code" / "leak.py").write_text(_LEAK)

    def step(end: int) -> dict[str, Any]:
        return {
            **{"type": "command", "environment": environment, "code": "./code"},
            **{"command": f"echo '${{{{inputs.key}}}}'; {python} leak.py {' '.join(SECRETS)}"},
            **{"inputs": {"key": "env:INPUT_KEY"}, "tags": {"azdistill.headline": "true"}},
            **{"environment_variables": {"END": str(end), "KEY": "env:LONG_KEY"}},
        }

    path = folder / "pipeline.yml"
    settings = {"continue_on_step_failure": True}
    path.write_text(yaml.safe_dump({"type": "pipeline", "settings": settings, "jobs": {"ok": step(0), "bad": step(3)}}))
    return path


def azdistill(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program as a user starts it, secrets in its environment; its temporary files lie in ``project``."""
    (project / "tmp").mkdir(exist_ok=True)
    variables = {**os.environ, **SECRETS, "TMPDIR": str(project / "tmp"), **environment}
    command = [sys.executable, "-m", "azdistill", *arguments]
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, timeout=300, check=False)


def tell(project: Path, *more: str) -> list[subprocess.CompletedProcess[bytes]]:
    """Run the pipeline in several ways, and show its runs in all ways that there are."""
    run = ["run", "pipeline.yml", "--env", "ENV_KEY", "--env", "LONG_KEY", *more]
    told = [
        azdistill(project, *run, "--json"),
        azdistill(project, *run),
        azdistill(project, "-vv", *run, "--no-cache", "--jobs", "1"),
        azdistill(project, "runs", "--json"),
        azdistill(project, "compare", "latest", "latest"),
        azdistill(project, "explain", "latest", "ok"),
    ]
    assert [done.returncode for done in told[:4]] == [1, 1, 1, 0], told
    assert json.loads(told[0].stdout)["steps"]["ok"]["status"] == "completed"
    assert b"***" in told[1].stdout
    return told


def assert_nowhere(project: Path, told: Iterable[subprocess.CompletedProcess[bytes]]) -> None:
    """Nothing that was printed or written holds a secret, and everything that there is was looked at."""
    written = files_of(project)
    names = {Path(name).name for name, _ in written}
    assert {"mlflow.db", "events.jsonl", "run.json", "log.txt", "metrics.jsonl", "key.json", "manifest.json"} <= names
    found = holding([*((" ".join(done.args), done.stdout + done.stderr) for done in told), *written])
    assert found == [], "\n".join(map(str, found))


def forms(secret: str, line: int = 0) -> Iterator[bytes]:
    """A secret as text could hold it: plain, URL-encoded, in JSON, and in base64 at any alignment.

    Of its base64, pieces of ``line`` characters count already: a longer one is broken into lines.
    """
    raw = secret.encode()
    yield raw
    for text in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield from (text.encode(), re.sub("%..", lambda found: found[0].lower(), text).encode())
    yield from (json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode())
    for shift in range(3):
        # What stands before and after shifts its bits: the characters that neighbours share are cut off.
        coded = base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
        for spelt in (coded, coded.translate(bytes.maketrans(b"+/", b"-_"))):
            yield from (
                [spelt[at : at + line] for at in range(0, max(len(spelt) - line, 1), line // 2)] if line else [spelt]
            )


def holding(texts: Iterable[tuple[str, bytes]], secrets: Iterable[str] = SECRETS.values()) -> list[tuple[str, bytes]]:
    """The names of ``texts`` that hold a secret, with what they hold."""
    needles = [form for secret in secrets for form in forms(secret, 40)]
    return [(name, needle) for name, text in texts for needle in needles if needle in text]


def files_of(folder: Path) -> list[tuple[str, bytes]]:
    """Every file below ``folder`` but what steps declare as their outputs."""
    found = [path for path in folder.rglob("*") if path.is_file() and "outputs" not in path.parts]
    return [(str(path), str(path).encode() + path.read_bytes()) for path in found]
