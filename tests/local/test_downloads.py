"""What is fetched is whole, on disk, and in its own folder; else it is an error and nothing is kept."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from local_helpers import QuietHandler, serving, statuses, step, write_pipeline

from azdistill import aml
from azdistill.errors import MachineError, ServiceError, SpecError
from azdistill.local.dry_run import foresee
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan import downloads
from azdistill.local.store.events import RunState
from azdistill.local.store.home import Home

BODY = b'{"row": 1}\n'


class Server(ThreadingHTTPServer):
    """Answers with ``headers`` and ``body`` as they are, right or wrong."""

    body, tag, status, asked = BODY, '"1"', 200, ""
    headers: tuple[tuple[str, str], ...] = (("Content-Length", str(len(BODY))),)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(QuietHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked = self.path
        if self.headers.get("If-None-Match") == self.server.tag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(self.server.status)
        for name, value in (("ETag", self.server.tag), *self.server.headers):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(("127.0.0.1", 0), Handler)) as made:
        yield made


def fetch(home: Home, url: str) -> Path:
    """What is fetched with nothing to tell of."""
    return downloads.fetch(home, url, pytest.fail)


@pytest.fixture
def home(project: Path) -> Home:
    return Home(project / ".azdistill")


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ((("Content-Length", "50"),), BODY),
        ((("Transfer-Encoding", "chunked"),), b"5\r\nhello\r\n5\r\nwo"),
        ((("Content-Length", "50"), ("Content-Encoding", "gzip")), b"\x1f\x8b"),
    ],
)
def test_a_download_that_breaks_off_is_an_error_and_is_not_kept(
    home: Home, server: Server, headers: tuple[tuple[str, str], ...], sent: bytes
) -> None:
    server.headers, server.body = headers, sent
    with pytest.raises(ServiceError, match=r"/rows\.jsonl: it broke off") as caught:
        fetch(home, f"{server.url}/rows.jsonl")
    assert caught.value.code == "AZD389"
    server.headers, server.body = Server.headers, BODY
    assert fetch(home, f"{server.url}/rows.jsonl").read_bytes() == BODY


def test_a_newer_version_that_breaks_off_is_not_taken_for_the_one_that_is_here(home: Home, server: Server) -> None:
    first = fetch(home, f"{server.url}/rows.jsonl")
    server.tag, server.body = '"2"', b"{"
    with pytest.raises(ServiceError, match="broke off"):
        fetch(home, f"{server.url}/rows.jsonl")
    assert first.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/about.json", "about.json"),
        ("/%2e%2e%2f%2e%2e%2fevil.txt", "evil.txt"),
        ("/a/%2e%2e", "download"),
        ("/a/..%2f.", "download"),
        ("/a%00b", "a_b"),
        ("/", "download"),
        ("/g%C3%B6%20d.csv", "gö d.csv"),
    ],
)
def test_a_file_is_kept_in_its_own_folder_whatever_its_address_ends_in(
    home: Home, server: Server, path: str, name: str
) -> None:
    first = fetch(home, server.url + path)
    assert (first.name, first.read_bytes()) == (name, BODY)
    assert first.parent.parent.parent == home.root / "downloads"
    assert fetch(home, server.url + path).read_bytes() == BODY


def test_data_is_on_disk_before_what_is_said_of_it(home: Home, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    made = fetch(home, f"{server.url}/rows.jsonl")
    about = next(at for at, name in enumerate(synced) if "about" in name)
    assert len(synced[:about]) == 2
    assert synced[about - 1] == made.parent.name


@pytest.fixture
def nameless(server: Server) -> Server:
    """A server that does not say which version it sends."""
    server.tag = ""
    return server


def test_what_is_the_same_is_left_as_it_is(home: Home, nameless: Server) -> None:
    first = fetch(home, f"{nameless.url}/rows.jsonl")
    before = first.stat()
    assert fetch(home, f"{nameless.url}/rows.jsonl") == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert sorted(path.name for path in first.parent.parent.iterdir()) == sorted(["about.json", first.parent.name])


def test_what_was_changed_here_is_fetched_anew(home: Home, nameless: Server) -> None:
    first = fetch(home, f"{nameless.url}/rows.jsonl")
    first.write_bytes(BODY.replace(b"1", b"2"))
    assert fetch(home, f"{nameless.url}/rows.jsonl").read_bytes() == BODY


def test_a_newer_version_lies_beside_the_one_that_a_run_may_be_reading(home: Home, server: Server) -> None:
    first = fetch(home, f"{server.url}/rows.jsonl")
    server.tag, server.body = '"2"', BODY.replace(b"1", b"2")
    second = fetch(home, f"{server.url}/rows.jsonl")
    assert (first.read_bytes(), second.read_bytes()) == (BODY, server.body)
    assert first.name == second.name == "rows.jsonl"
    assert fetch(home, f"{server.url}/rows.jsonl") == second


@pytest.mark.parametrize("started", [None, 3600.0, 4 * 3600.0])
def test_an_older_version_goes_when_no_run_can_be_reading_it(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch, started: float | None
) -> None:
    """Where the only run that goes on started so many seconds ago; it was replaced three hours ago."""
    now = time.time()
    running = [RunState("r", home.runs, started=now - started)] if started else []
    monkeypatch.setattr(downloads, "list_runs", lambda home: [RunState("o", home.runs, status="completed"), *running])
    first = fetch(home, f"{server.url}/rows.jsonl")
    server.tag, server.body = '"2"', BODY.replace(b"1", b"2")
    second = fetch(home, f"{server.url}/rows.jsonl")
    os.utime(first.parent, (now - 3 * 3600, now - 3 * 3600))
    server.tag, server.body = '"3"', BODY.replace(b"1", b"3")
    assert fetch(home, f"{server.url}/rows.jsonl") not in (first, second)
    assert first.exists() is (started == 4 * 3600.0)
    assert second.exists()


def test_what_was_fetched_by_an_earlier_azdistill_is_used(home: Home, server: Server) -> None:
    fetched = fetch(home, f"{server.url}/rows.jsonl")
    fetched.parent.rename(fetched.parent.with_name("data"))
    about = {"name": "rows.jsonl", "versions": {"ETag": server.tag}}
    (fetched.parent.parent / "about.json").write_text(json.dumps(about))
    old = fetch(home, f"{server.url}/rows.jsonl")
    assert (old.parent.name, old.read_bytes()) == ("data", BODY)
    server.tag = ""
    assert fetch(home, f"{server.url}/rows.jsonl") == fetched
    assert old.read_bytes() == BODY


def test_a_run_is_not_disturbed_by_another_that_fetches_the_same(
    run: Callable[..., Finished], project: Path, nameless: Server
) -> None:
    rows = f"{nameless.url}/rows.jsonl"
    (project / "fetch.py").write_text(
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from azdistill.local.plan import downloads\nfrom azdistill.local.store import home\n"
        f"downloads.fetch(home.Home(home.Path({str(project / '.azdistill')!r})), {rows!r}, print)\n"
    )
    command = f"python '{project}/fetch.py' && cat ${{{{inputs.rows}}}} > ${{{{outputs.o}}}}"
    show = step(command, outputs=("o",), inputs={"rows": "${{parent.inputs.rows}}"})
    finished = run({"show": show}, inputs={"rows": {"type": "uri_file", "path": rows}})
    assert statuses(finished) == {"show": "completed"}


@pytest.mark.parametrize("path", ["/g\xf6\u20ac d.csv", "/g%C3%B6%E2%82%AC%20d.csv"])
def test_an_address_that_is_not_ascii_is_asked_for_as_browsers_do(home: Home, server: Server, path: str) -> None:
    made = fetch(home, f"{server.url}{path}?a=\xf6&b=%20")
    assert (made.name, made.read_bytes()) == ("g\xf6\u20ac d.csv", BODY)
    assert server.asked == "/g%C3%B6%E2%82%AC%20d.csv?a=%C3%B6&b=%20"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://b\xfccher.example:81/\xe9", "https://xn--bcher-kva.example:81/%C3%A9"),
        ("https://me:p@b\xfccher.example/", "https://me:p@xn--bcher-kva.example/"),
        ("https://[::1]:8080/a/b;c=d?e=[f]&sig=a%2Bb%3D#g", "https://[::1]:8080/a/b;c=d?e=[f]&sig=a%2Bb%3D#g"),
    ],
)
def test_an_address_is_asked_for_as_servers_know_it(url: str, asked: str) -> None:
    assert downloads.encoded(url) == asked


@pytest.mark.parametrize("url", ["http://[bad/x.csv", f"http://\xe9{'a' * 70}.example/x.csv", "http://a:b/x.csv"])
def test_an_address_that_is_none_is_an_error_of_ours(home: Home, url: str) -> None:
    with pytest.raises(ServiceError) as caught:
        fetch(home, url)
    assert caught.value.code == "AZD389"
    assert not home.root.exists()


def test_a_server_that_leads_nowhere_is_an_error_of_ours(home: Home, server: Server) -> None:
    server.status, server.headers = 302, (("Location", "http://[bad/x"), ("Content-Length", "0"))
    with pytest.raises(ServiceError) as caught:
        fetch(home, f"{server.url}/rows.jsonl")
    assert caught.value.code == "AZD389"


def test_an_answer_that_is_no_http_is_an_error_of_ours(home: Home, server: Server) -> None:
    server.headers = (("Content-Length", "11"), *((f"X-{n}", "x") for n in range(200)))
    with pytest.raises(ServiceError) as caught:
        fetch(home, f"{server.url}/rows.jsonl")
    assert caught.value.code == "AZD389"


def test_a_dry_run_asks_and_fetches_nothing(run: Callable[..., Finished], project: Path, server: Server) -> None:
    show = step("cat ${{inputs.rows}} > ${{outputs.o}}", outputs=("o",), inputs={"rows": "${{parent.inputs.rows}}"})
    rows = {"type": "uri_file", "path": f"{server.url}/rows.jsonl"}
    pipeline = write_pipeline(project / "pipeline.yml", {"show": show}, inputs={"rows": rows})

    def foreseen() -> tuple[str, str]:
        (told,) = foresee(aml.load_pipeline(pipeline), Options())[1].values()
        return told.action, told.reason

    first = ("run", "its input 'rows' would be fetched first")
    assert foreseen() == first
    assert not (project / ".azdistill").exists()
    run(pipeline)
    kept = sorted((project / ".azdistill" / "downloads").rglob("*"))
    assert foreseen()[0] == "reuse"
    server.tag = '"2"'
    assert foreseen() == first
    server.shutdown()
    server.server_close()
    (note,) = foresee(aml.load_pipeline(pipeline), Options())[0].notes
    assert note.startswith(f"input 'rows': {server.url}/rows.jsonl cannot be asked for (")
    assert note.endswith("Connection refused): what was fetched from there before is used")
    with pytest.raises(SpecError, match="what was fetched from there before is used"):
        run(pipeline, options=Options(strict=True))
    assert foreseen()[0] == "reuse"
    assert sorted((project / ".azdistill" / "downloads").rglob("*")) == kept


def test_a_state_folder_that_leads_nowhere_is_told_before_data_is_kept(server: Server, project: Path) -> None:
    (project / ".azdistill").symlink_to("/nowhere/azd")
    with pytest.raises(MachineError, match="is a link that leads to nothing"):
        fetch(Home(project / ".azdistill"), f"{server.url}/rows.jsonl")
