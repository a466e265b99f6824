"""Downloads: whole or not at all, what the step wrote or an error, and never over what is the user's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from following_helpers import Cloud, a_cloud

from azdistill.cloud.jobs.download import _relative
from azdistill.cloud.jobs.follow import Job
from azdistill.cloud.jobs.storage import Container, Place
from azdistill.errors import ServiceError

LARGE = "GET /blob/*large.bin"


@pytest.fixture(scope="module")
def done(shared_cloud: Cloud) -> Job:
    """A run whose outputs are downloaded; each test has a folder of its own."""
    return shared_cloud.finished(word="wanted")


def blob(cloud: Cloud, job: Job, name: str) -> Path:
    """The file behind a blob of the run's report."""
    folder = cloud.workspace.blobs.path("azureml-blobstore", f"azureml/{job.steps['second'].run_id}/made")
    return Path(folder) / name


def test_outputs_are_laid_out_as_a_local_run_does(cloud: Cloud, done: Job) -> None:
    shown = cloud.run("download", done.name, "--out", "there")
    assert shown.code == 0
    assert "report: 3 files, 1.8 MB, checked" in shown.out
    report = Path("there/report").absolute()
    assert shown.out.endswith(f"report: {report}\nopen {report / 'report.html'}\n")
    assert (report / "word.txt").read_text() == "wanted"
    assert (report / "inner" / "large.bin").read_bytes() == b"wanted" * 300_000
    assert sorted(path.name for path in Path("there").iterdir()) == [".report.azdistill-output", "report"]


def test_a_second_download_fetches_nothing(cloud: Cloud, done: Job) -> None:
    cloud.run("download", done.name, "--out", "there")
    cloud.workspace.requests.clear()
    shown = cloud.run("download", done.name, "--out", "there", "--json")
    assert "report: unchanged" in shown.err
    assert json.loads(shown.out)["report"].endswith("there/report/report.html")
    assert not cloud.workspace.requests.find("GET", "large.bin")


def test_an_output_of_a_step(cloud: Cloud, done: Job) -> None:
    shown = cloud.run("download", done.name, "--step", "first", "--output", "made")
    assert shown.code == 0
    assert (Path(done.name) / "made" / "word.txt").read_text() == "wanted"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--output", "reprot"], "AZD438", "did you mean 'report'?"),
        (["--step", "frist", "--output", "made"], "AZD437", "did you mean 'first'?"),
        (["--step", "first", "--output", "maed"], "AZD438", "did you mean 'made'?"),
        (["--step", "first"], "AZD438", "name it with --output"),
    ],
)
def test_names_that_do_not_exist(cloud: Cloud, done: Job, arguments: list[str], code: str, said: str) -> None:
    shown = cloud.run("download", done.name, *arguments)
    assert shown.code == 2
    assert f"error[{code}]" in shown.err
    assert said in shown.err


def test_what_is_the_users_is_left_alone(cloud: Cloud, done: Job) -> None:
    Path("there/report").mkdir(parents=True)
    Path("there/report/notes.txt").write_text("mine")
    shown = cloud.run("download", done.name, "--out", "there")
    assert (shown.code, "error[AZD351]" in shown.err) == (2, True)
    assert [path.name for path in Path("there").rglob("*")] == ["report", "notes.txt"]


@pytest.mark.slow
def test_a_cut_connection_costs_nothing(cloud: Cloud, done: Job) -> None:
    fault = cloud.workspace.fail(LARGE, cut="body", times=2)
    shown = cloud.run("download", done.name, "--out", "there")
    assert (shown.code, fault.hits) == (0, 2)
    assert Path("there/report/inner/large.bin").read_bytes() == b"wanted" * 300_000


def test_a_signature_that_has_run_out_is_asked_for_anew(cloud: Cloud, done: Job) -> None:
    fault = cloud.workspace.fail("GET /blob/*", status=403, code="AuthenticationFailed", times=1)
    assert cloud.run("download", done.name, "--out", "there").code == 0
    assert fault.hits == 1


def test_who_may_not_read_is_told_and_nothing_is_left_half(cloud: Cloud, done: Job) -> None:
    cloud.workspace.fail(LARGE, status=403, code="AuthorizationPermissionMismatch")
    shown = cloud.run("download", done.name, "--out", "there")
    assert (shown.code, "error[AZD403]" in shown.err) == (4, True)
    assert not Path("there/report").exists()
    cloud.workspace.faults.clear()
    # What had come is kept for the next try.
    assert cloud.run("download", done.name, "--out", "there").code == 0
    assert not Path("there/.azdistill-download").exists()


@pytest.mark.parametrize("change", ["content", "size", "gone"])
def test_what_is_not_what_the_step_wrote_is_refused(cloud: Cloud, change: str) -> None:
    job = cloud.finished(word=f"changed-{change}")
    path = blob(cloud, job, "word.txt")
    if change == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text().upper() + ("more" if change == "size" else ""))
    shown = cloud.run("download", job.name, "--out", "there")
    assert (shown.code, "error[AZD440]" in shown.err) == (4, True)
    assert "word.txt" in shown.err
    assert not Path("there/report").exists()


def test_what_others_put_beside_it_is_left_out(cloud: Cloud) -> None:
    job = cloud.finished(word="beside")
    blob(cloud, job, "stranger.txt").write_text("?")
    shown = cloud.run("download", job.name, "--out", "there")
    assert "3 files, 1.8 MB, checked; 1 file of others in the same place left out" in shown.out
    assert not Path("there/report/stranger.txt").exists()


def test_an_empty_output_is_an_error(cloud: Cloud) -> None:
    job = cloud.finished(word="emptied")
    for name in ("word.txt", "report.html", "inner/large.bin"):
        blob(cloud, job, name).unlink()
    shown = cloud.run("download", job.name, "--out", "there")
    assert (shown.code, "error[AZD439]" in shown.err) == (4, True)


def test_without_a_manifest_it_says_that_only_sizes_were_checked(cloud: Cloud) -> None:
    job = cloud.finished(word="unlisted")
    for run in (step.run_id for step in job.steps.values()):
        manifest = f"ExperimentRun/dcid.{run}/outputs/azdistill/manifest.json"
        Path(cloud.workspace.blobs.path("azureml", manifest)).unlink()
    shown = cloud.run("download", job.name, "--out", "there")
    assert shown.code == 0
    assert "sizes checked only: its step left no manifest" in shown.out


def test_a_reused_step_gives_what_the_earlier_run_made(cloud: Cloud, done: Job) -> None:
    job = cloud.finished(word="wanted")
    assert job.steps["second"].reused
    shown = cloud.run("download", job.name, "--out", "there")
    assert "3 files, 1.8 MB, checked" in shown.out


def test_what_is_not_made_yet_or_never_will_be(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "go"))
    shown = cloud.run("download", name)
    assert (shown.code, "has not ended yet" in shown.err) == (2, True)
    (tmp_path / "go").touch()
    job = cloud.finished(first="fail", word="never-made")
    shown = cloud.run("download", job.name)
    assert (shown.code, "never ran: it made nothing" in shown.err) == (2, True)


def test_a_killed_download_is_taken_up_where_it_was(cloud: Cloud, done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Container.read

    def killed(self: Container, each: object, offset: int = 0) -> object:
        for chunk in real(self, each, offset):  # type: ignore[arg-type]
            if not each.name.endswith("large.bin"):  # type: ignore[attr-defined]
                yield chunk
                continue
            yield chunk[:1000]
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Container, "read", killed)
        assert cloud.run("download", done.name, "--out", "there").code == 130
    assert not Path("there/report").exists()
    assert any(path.stat().st_size == 1000 for path in Path("there").rglob("large.bin.*.part"))
    offsets: list[int] = []

    def recorded(self: Container, each: object, offset: int = 0) -> object:
        offsets.append(offset)
        return real(self, each, offset)  # type: ignore[arg-type]

    monkeypatch.setattr(Container, "read", recorded)
    assert cloud.run("download", done.name, "--out", "there").code == 0
    assert 1000 in offsets


def test_storage_that_is_opened_by_identity(tmp_path: Path) -> None:
    with a_cloud(tmp_path, identity_storage=True) as cloud:
        job = cloud.finished(word="identity")
        shown = cloud.run("download", job.name, "--out", "there")
        assert (shown.code, "checked" in shown.out) == (0, True)
        assert not cloud.workspace.requests.find("POST", "listSecrets")


def test_a_name_that_leads_out_of_its_folder_is_refused() -> None:
    with pytest.raises(ServiceError, match="leads out of its folder"):
        _relative("azureml/run/made/../../../etc/passwd", "azureml/run/made")


def test_places_are_read_from_short_and_long_addresses() -> None:
    long = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/store/paths/a/b/"
    assert Place.from_uri(long) == Place.from_uri("azureml://datastores/store/paths/a/b") == Place("store", "a/b")
    assert Place.from_uri("https://elsewhere") is None
