"""Looks around from where steps run, and says what would stand in their way."""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from common import arguments, secrets, strict_json
from common.entra import NoToken, token
from common.step import StepError, Unavailable, run_step, say

OK, WARN, FAIL = "ok", "warn", "fail"
#: Storage signs with the time; beyond some minutes it refuses.
_SKEW_WARNS = 120.0
_SMALL_DISK = 20e9
_WRITTEN = 8 << 20


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``said`` is what was found, ``todo`` what to do about it."""

    name: str
    level: str
    said: str
    todo: str = ""


class ProbeFailed(StepError):
    """Something that every run needs is not to be had from here."""

    code = "probe"


def main() -> None:
    """Look at everything, print and write it, then fail where something has to be mended."""
    args = arguments.of(__file__)
    findings: list[Finding] = []
    for finding in look(args.teacher_endpoint, args.teacher_key, args.addresses, args.timeout):
        findings.append(finding)
        say(f"{finding.level:<5} {finding.name:<10} {finding.said}")
        if finding.todo:
            say(f"{'':<17}{finding.todo}")
    findings.append(storage(args.report))
    args.report.write_text(strict_json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    last = findings[-1]
    say(f"{last.level:<5} {last.name:<10} {last.said}")
    failed = [finding for finding in findings if finding.level == FAIL]
    if failed:
        words = "; ".join(f"{finding.name}: {finding.said}" for finding in failed)
        raise (Unavailable if any(f.name == "teacher" for f in failed) else ProbeFailed)(words)


def look(endpoint: str | None, key: str | None, addresses: str, timeout: float) -> Iterator[Finding]:
    """Everything but the storage, one after the other."""
    yield machine()
    yield from gpus()
    yield disk(Path.cwd())
    yield identity()
    for address in addresses.split():
        yield reached(address, timeout)
    if endpoint:
        yield teacher(endpoint, timeout)
    if key:
        yield resolved(key)


def machine() -> Finding:
    """Processors, memory and interpreter."""
    memory = ""
    try:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    except (OSError, ValueError):
        memory = ""
    node = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors{memory}"
    return Finding("machine", OK, f"{node}, Python {platform.python_version()}")


def gpus() -> Iterator[Finding]:
    """The GPUs that the driver shows; nothing where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("gpu", WARN, f"nvidia-smi does not answer: {error}", "the node is broken: submit again")
        return
    yield Finding("gpu", OK, "; ".join(answer.splitlines()) or "none")


def disk(folder: Path) -> Finding:
    """Room where the step works."""
    free = shutil.disk_usage(folder).free
    todo = "" if free > _SMALL_DISK else "models and checkpoints need more: choose a larger size"
    return Finding("disk", WARN if todo else OK, f"{free / 1e9:.0f} GB free", todo)


def identity() -> Finding:
    """Whether a token can be had here: connections, vaults and Entra need one."""
    try:
        token(f"{os.environ.get('AZDISTILL_ARM_ENDPOINT', secrets.ARM_ENDPOINT).rstrip('/')}/.default")
    except NoToken as error:
        todo = "give the compute a managed identity, or the step `identity: user_identity`, for keys by reference"
        return Finding("identity", WARN, f"no token for Azure: {error}", todo)
    return Finding("identity", OK, "a token for Azure can be had")


def reached(address: str, timeout: float) -> Finding:
    """Whether the host answers at all, how fast, and what its clock says."""
    host = urlsplit(address).netloc or address
    started = time.monotonic()
    try:
        status, date = _asked(address, timeout)
    except (OSError, ValueError) as error:
        return Finding("network", WARN, f"{host} is not reached: {_reason(error)}", _todo(error))
    took = f"{host} answers {status} after {(time.monotonic() - started) * 1000:.0f} ms"
    skew = _skew(date)
    if skew is not None and abs(skew) > _SKEW_WARNS:
        return Finding("network", WARN, f"{took}, its clock is {skew:+.0f} s off ours", "set the machine's clock")
    return Finding("network", OK, took)


def teacher(endpoint: str, timeout: float) -> Finding:
    """Whether the endpoint's host answers; any status will do, as nobody says who asks."""
    try:
        status, _ = _asked(endpoint, timeout)
    except (OSError, ValueError) as error:
        return Finding("teacher", FAIL, f"{urlsplit(endpoint).netloc or endpoint}: {_reason(error)}", _todo(error))
    return Finding("teacher", OK, f"{urlsplit(endpoint).netloc} answers ({status} without a key)")


def resolved(key: str) -> Finding:
    """Whether the key can be had here. Its value is not shown."""
    try:
        value = secrets.resolve(key)
    except secrets.SecretError as error:
        return Finding(
            "key",
            FAIL,
            str(error),
            "the identity of the job needs AzureML Data Scientist (connection) or Key Vault Secrets User (vault)",
        )
    return Finding("key", OK, f"{key.strip('${}')} resolves ({len(value)} characters)")


def storage(report: Path) -> Finding:
    """Whether outputs can be written and read back."""
    trial = report.with_name(report.name + ".trial")
    content = os.urandom(_WRITTEN)
    started = time.monotonic()
    try:
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(content)
        is_equal = trial.read_bytes() == content
        trial.unlink()
    except OSError as error:
        return Finding("storage", FAIL, f"an output cannot be written: {error}", "see the datastore's credentials")
    if not is_equal:
        return Finding("storage", FAIL, "an output reads other than it was written", "see the datastore")
    rate = 2 * _WRITTEN / 1e6 / max(time.monotonic() - started, 1e-6)
    return Finding("storage", OK, f"outputs are written and read back, {rate:.0f} MB a second")


def _asked(address: str, timeout: float) -> tuple[int, str | None]:
    request = urllib.request.Request(address, method="GET", headers={"User-Agent": "azdistill-probe"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Date")


def _skew(date: str | None) -> float | None:
    """Seconds that the other clock is before ours."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time() if date else None
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return str(cause) or type(cause).__name__


def _todo(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLError):
        return "its certificate is not trusted here: a proxy in between? set SSL_CERT_FILE in the environment"
    if "Name or service not known" in str(cause) or "resolution" in str(cause):
        return "its name is not known here: a private network without DNS for it?"
    return "the virtual network or its firewall lets nothing out to it: add a rule for the host"


if __name__ == "__main__":
    run_step(main)
