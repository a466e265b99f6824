"""resolve_data: what a reference leads to, at a moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback import Workspace
from snapshots import Component, Result, read_jsonl


@pytest.fixture
def step(component: Callable[[str], Component]) -> Component:
    return component("resolve_data")


def look_up(step: Component, **inputs: Any) -> Result:
    """Run the step where the workspace is found that this process is pointed at, if it is."""
    known = ("AZ", "ARM_", "REQUESTS_CA", "SSL_CERT")
    variables = {name: value for name, value in os.environ.items() if name.startswith(known)}
    # Which of its other variables the runner of the tests has is no business of the step's.
    variables["AZDISTILL_METRICS_FILE"] = str(step.folder / "metrics.jsonl")
    return step.run(inputs, env=variables)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Rows of two days, and what is no data."""
    folder = tmp_path / "incoming"
    texts = {
        "2026/11/30/a.jsonl": '{"n": 1}',
        "2026/12/01/b.jsonl": '{"n": 2}\n',
        "2026/12/01/a.jsonl": '\ufeff{"n": 3}',
        "2026/12/01/deep/c.jsonl": '{"n": 4}\n',
        "2026/12/01/_SUCCESS": "",
        "2026/12/01/.hidden.jsonl": "{}",
        "2026/12/01/notes.txt": "no data",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("reference", "offset", "found"),
    [
        ("{yyyy}/{MM}/{dd}/*.jsonl", "", [3, 2]),
        ("{yyyy}/{MM}/{dd}/*.jsonl", "-1d", [1]),
        ("{yyyy}/{MM}/{dd}", "", [3, 2, 4]),
        ("**/c.jsonl", "", [4]),
        ("{yyyy}/**/a.jsonl", "", [1, 3]),
        ("2026/12/01/b.jsonl", "", [2]),
        ("*/*/*/?.jsonl", "", [1, 3, 2]),
    ],
)
def test_a_path_is_filled_with_the_moment_and_leads_to_files(
    step: Component, files: Path, reference: str, offset: str, found: list[int]
) -> None:
    more = {"offset": offset} if offset else {}
    result = look_up(step, reference=reference, folder=files, as_of="2026-12-01T09:00:00Z", **more)
    assert result.returncode == 0, result.stderr
    assert [row["n"] for row in read_jsonl(result.outputs["data"])] == found
    assert len(result.summary["files"]) == len(found)
    tags = {line["name"]: line["value"] for line in result.metrics if line["kind"] == "tag"}
    assert tags["azdistill.data"] == result.summary["sha256"]


def test_the_moment_is_taken_in_utc(step: Component, files: Path) -> None:
    result = look_up(step, reference="{yyyy}/{MM}/{dd}/a.jsonl", folder=files, as_of="2026-12-01T00:30:00+01:00")
    assert [row["n"] for row in read_jsonl(result.outputs["data"])] == [1]


def test_unchanged_data_has_the_same_hash_and_new_data_another(step: Component, files: Path) -> None:
    first, second = (look_up(step, reference="**/*.jsonl", folder=files).summary["sha256"] for _ in range(2))
    (files / "2026/12/01/d.jsonl").write_text('{"n": 5}\n')
    assert first == second != look_up(step, reference="**/*.jsonl", folder=files).summary["sha256"]


def test_tables_become_json_lines_and_files_of_one_form_are_joined(step: Component, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "1.csv").write_text('q,a\n"x, y",1\n')
    (folder / "2.csv").write_text("q,a\nz,2\n")
    result = look_up(step, reference="*.csv", folder=folder)
    assert read_jsonl(result.outputs["data"]) == [{"q": "x, y", "a": "1"}, {"q": "z", "a": "2"}]
    (folder / "2.csv").write_text("a,q\nz,2\n")
    result = look_up(step, reference="*.csv", folder=folder)
    assert (result.returncode, "other columns" in result.stderr) == (65, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("1.csv", "q,a,q\nx,y,z\n", "the header names the column 'q' twice"),
        ("1.csv", 'q,a\nx,"y\nz,2\nu,3\n', "the rest of the file cannot be read"),
        ("1.csv", 'q,a\nx,"y"z\n', "the rest of the file cannot be read"),
        ("1.json", '[{"q": "x", "q": "y"}]', "an object names the key 'q' twice"),
        ("1.json", "[" * 100_000, "1.json cannot be read as JSON"),
    ],
)
def test_what_would_be_lost_by_joining_is_refused(
    step: Component, tmp_path: Path, name: str, text: str, said: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / name).write_text(text)
    (folder / name.replace("1", "2")).write_text("[]" if name.endswith("json") else "q,a\nz,2\n")
    result = look_up(step, reference=f"*.{name[2:]}", folder=folder)
    assert (result.returncode, said in result.stderr) == (65, True), result.stderr


def test_joined_files_hold_what_was_written_in_them(step: Component, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "1.json").write_text('\ufeff[{"price": 1.10, "big": 12345678901234567890.5}]\n')
    (folder / "2.json").write_text(" [ ] ")
    (folder / "3.json").write_text('[{"half": "\\ud800"}]')
    text = look_up(step, reference="*.json", folder=folder).outputs["data"].read_text()
    assert text == '[{"price": 1.10, "big": 12345678901234567890.5},{"half": "\\ud800"}]'
    long = "x" * 200_000
    (folder / "1.csv").write_text(f"q,a\n{long},1\n")
    assert read_jsonl(look_up(step, reference="*.csv", folder=folder).outputs["data"]) == [{"q": long, "a": "1"}]


def test_lists_and_parquet_are_joined(step: Component, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.json").write_text(json.dumps([{"n": number}]))
        pq.write_table(pa.table({"n": [number]}), folder / f"{number}.parquet")
    assert json.loads(look_up(step, reference="*.json", folder=folder).outputs["data"].read_text()) == [
        {"n": 1},
        {"n": 2},
    ]
    table = pq.read_table(look_up(step, reference="*.parquet", folder=folder).outputs["data"])
    assert table.to_pylist() == [{"n": 1}, {"n": 2}]
    result = look_up(step, reference="*", folder=folder)
    assert (result.returncode, "several forms" in result.stderr) == (65, True)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"reference": "2030/*.jsonl"}, 66, "nothing fits 2030/*.jsonl"),
        ({"reference": "{year}/a.jsonl"}, 78, "{year}"),
        ({"reference": "a", "as_of": "yesterday"}, 78, "is no moment"),
        ({"reference": "a", "offset": "1 week"}, 78, "is no span"),
        ({"reference": "azureml:rows:3"}, 78, "names one version"),
        ({"reference": "azureml://somewhere/else"}, 78, "does not lie on a datastore"),
    ],
)
def test_what_leads_nowhere_ends_with_a_sentence(
    step: Component, files: Path, given: dict[str, str], code: int, said: str
) -> None:
    result = look_up(step, folder=files, **given)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module", params=[False, True], ids=["sas", "identity"])
def ws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("workspace")
    with Workspace(folder, execute=False, identity_storage=request.param) as workspace:
        for day, text in (("01", '{"n": 1}\n'), ("02", '{"n": 2}\n')):
            blob = workspace.blobs.path("azureml-blobstore", f"in/2026/12/{day}/rows.jsonl")
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text(text)
        yield workspace


@pytest.fixture
def inside(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a job of the workspace."""
    for name, value in {**ws.environment(), "AZDISTILL_ARM_ENDPOINT": ws.url}.items():
        monkeypatch.setenv(name, value)


PLACE = "azureml://datastores/workspaceblobstore/paths/in/"


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("reference", "found"), [("{yyyy}/{MM}/{dd}/*.jsonl", [2]), ("**", [1, 2]), ("2026/12/01", [1])]
)
def test_a_datastore_is_listed_and_read(step: Component, reference: str, found: list[int]) -> None:
    result = look_up(step, reference=PLACE + reference, as_of="2026-12-02T00:00:00Z")
    assert result.returncode == 0, result.stderr
    assert [row["n"] for row in read_jsonl(result.outputs["data"])] == found
    assert all(file["etag"] for file in result.summary["files"])


@pytest.mark.usefixtures("inside")
def test_the_newest_version_of_an_asset_is_taken(step: Component, ws: Workspace, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    for version, path in (("1", "2026/12/01/rows.jsonl"), ("2", "2026/12/02/rows.jsonl")):
        ws.client().data.create_or_update(Data(name="rows", version=version, path=PLACE + path, type="uri_file"))
        result = look_up(step, reference="azureml:rows@latest")
        assert result.returncode == 0, result.stderr
        assert result.summary["version"] == version
        assert [row["n"] for row in read_jsonl(result.outputs["data"])] == [int(version)]


@pytest.mark.usefixtures("inside")
def test_refusals_and_absences_of_the_workspace(step: Component, ws: Workspace) -> None:
    result = look_up(step, reference="azureml:nothing@latest")
    assert (result.returncode, "no such thing" in result.stderr) == (66, True)
    ws.fail("GET *datastores*", status=403, times=1)
    result = look_up(step, reference=PLACE + "**")
    assert (result.returncode, "may not read it" in result.stderr) == (77, True)
    ws.fail("GET *datastores*", status=503, times=1, headers={"Retry-After": "0"})
    assert look_up(step, reference=PLACE + "**").returncode == 0
