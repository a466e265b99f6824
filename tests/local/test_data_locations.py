"""Data that is not a path of this machine: what stands for it here, and what is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from local_helpers import QuietHandler, serving, step

from azdistill.errors import ServiceError, SpecError
from azdistill.local.pipeline_run import Finished
from azdistill.local.plan.downloads import fetch
from azdistill.local.store.home import Home
from azdistill.redact import redact

Run = Callable[..., Finished]
SHOW = step("cat ${{inputs.rows}} > ${{outputs.o}}", outputs=("o",), inputs={"rows": "${{parent.inputs.rows}}"})


def shown(finished: Finished) -> str:
    return Path(finished.state.steps["show"].outputs["o"]).read_text()


@pytest.mark.parametrize(
    "path",
    [
        "azureml:reviews:3",
        "azureml:reviews@latest",
        "azureml://datastores/raw/paths/2026/rows.jsonl",
        "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/far/paths/a/rows.jsonl",
        "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/raw/paths/2026/rows.jsonl",
        "wasbs://data@account.blob.core.windows.net/rows.jsonl",
        "https://nowhere.invalid/2026/rows.jsonl",
    ],
)
def test_an_asset_is_what_azdistill_yml_says(run: Run, project: Path, path: str) -> None:
    (project / "here").mkdir()
    (project / "here" / "rows.jsonl").write_text("{}\n")
    (project / "azdistill.yml").write_text(
        "local:\n  data:\n"
        "    reviews: ./here/rows.jsonl\n"
        "    azureml://datastores/raw/paths/2026: ./here\n"
        "    azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/far/paths/a/: ./here\n"
        "    wasbs://data@account.blob.core.windows.net/rows.jsonl: ./here/rows.jsonl\n"
        "    https://nowhere.invalid/2026: ./here\n"
    )
    finished = run({"show": SHOW}, inputs={"rows": {"type": "uri_file", "path": path}})
    assert shown(finished) == "{}\n"


@pytest.mark.parametrize("path", [".", "..", "link"])
def test_data_that_holds_the_state_folder_is_refused(run: Run, project: Path, path: str) -> None:
    """Each run would change it while it goes on."""
    (project / "link").symlink_to(".")
    jobs = {"show": step("ls ${{inputs.rows}}", inputs={"rows": "${{parent.inputs.rows}}"})}
    with pytest.raises(SpecError) as caught:
        run(jobs, inputs={"rows": {"type": "uri_folder", "path": path}})
    [problem] = caught.value.problems
    assert problem.code == "AZD344"
    assert "input 'rows'" in problem.message
    assert str(project / ".azdistill") in problem.message


def test_data_beside_or_in_the_state_folder_is_no_state(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("data", "state/datastores/raw/rows"):
        (project / folder).mkdir(parents=True)
    monkeypatch.setenv("AZDISTILL_HOME", str(project / "state"))
    for path in ("data", "state/datastores/raw/rows"):
        jobs = {"show": step("ls ${{inputs.rows}}", inputs={"rows": "${{parent.inputs.rows}}"})}
        assert run(jobs, inputs={"rows": {"type": "uri_folder", "path": path}}).error is None


def test_a_version_of_its_own_comes_before_the_name(run: Run, project: Path) -> None:
    (project / "one").write_text("1")
    (project / "two").write_text("2")
    (project / "azdistill.yml").write_text('local: {data: {"azureml:r:2": ./two, r: ./one}}\n')
    assert shown(run({"show": SHOW}, inputs={"rows": {"type": "uri_file", "path": "azureml:r:2"}})) == "2"
    assert shown(run({"show": SHOW}, inputs={"rows": {"type": "uri_file", "path": "azureml:r:1"}})) == "1"


def test_an_asset_without_a_line_says_where_to_write_one(run: Run) -> None:
    with pytest.raises(SpecError) as caught:
        run({"show": SHOW}, inputs={"rows": {"type": "uri_file", "path": "azureml:reviews:3"}})
    assert "local.data in azdistill.yml" in str(caught.value)


class Server(ThreadingHTTPServer):
    body, asked = b"{}\n", 0


class Handler(QuietHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        tag = f'"{hash(self.server.body)}"'
        if self.path.startswith("/missing"):
            self.send_error(404)
        elif self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(("127.0.0.1", 0), Handler)) as made:
        yield made


def address(server: Server, path: str = "/data/rows.jsonl") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_a_file_on_a_server_is_an_input(run: Run, server: Server) -> None:
    rows = {"rows": {"type": "uri_file", "path": address(server)}}
    assert shown(run({"show": SHOW}, inputs=rows)) == "{}\n"
    again = run({"show": SHOW}, inputs=rows)
    assert again.state.steps["show"].status == "cached"
    server.body = b"new\n"
    assert shown(run({"show": SHOW}, inputs=rows)) == "new\n"


def test_what_is_here_is_used_where_the_server_is_gone(project: Path, server: Server) -> None:
    home, url = Home(project / ".azdistill"), address(server)
    told: list[str] = []
    first = fetch(home, url, told.append)
    assert told == []
    server.shutdown()
    server.server_close()
    assert fetch(home, url, told.append) == first
    (line,) = told
    assert line.startswith(f"{url} cannot be asked for (")
    with pytest.raises(ServiceError, match="rows2"):
        fetch(home, url.replace("rows", "rows2"), told.append)


def test_a_signature_is_in_no_message(project: Path, server: Server) -> None:
    with pytest.raises(ServiceError, match=r"/missing\?\*\*\*: the server answered 404"):
        fetch(Home(project / ".azdistill"), address(server, "/missing?sig=canary-0815"), pytest.fail)
    assert "canary-0815" not in redact("sig=canary-0815")
