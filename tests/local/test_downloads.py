"""What is fetched is whole, on disk, and in its own folder; else it is an error and nothing is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from local_helpers import QuietHandler, serving, step, write_pipeline

from azdistill import spec
from azdistill.errors import ServiceError, SpecError
from azdistill.local import downloads
from azdistill.local.dry_run import foresee
from azdistill.local.home import Home
from azdistill.local.run import Finished, Options

BODY = b'{"row": 1}\n'


class Server(ThreadingHTTPServer):
    """Answers with ``headers`` and ``body`` as they are, right or wrong."""

    body, tag = BODY, '"1"'
    headers: tuple[tuple[str, str], ...] = (("Content-Length", str(len(BODY))),)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(QuietHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        if self.headers.get("If-None-Match") == self.server.tag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        for name, value in (("ETag", self.server.tag), *self.server.headers):
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
        (told,) = foresee(spec.load_pipeline(pipeline), Options())[1].values()
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
    (note,) = foresee(spec.load_pipeline(pipeline), Options())[0].notes
    assert note.startswith(f"input 'rows': {server.url}/rows.jsonl cannot be asked for (")
    assert note.endswith("Connection refused): what was fetched from there before is used")
    with pytest.raises(SpecError, match="what was fetched from there before is used"):
        run(pipeline, options=Options(strict=True))
    assert foreseen()[0] == "reuse"
    assert sorted((project / ".azdistill" / "downloads").rglob("*")) == kept
