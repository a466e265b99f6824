"""``azdistill publish``: each version once, under the hash of what it holds, in a workspace or a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loopback import Workspace

from azdistill import aml, assets
from azdistill.cli.publish import publish_command
from azdistill.cloud import publish
from azdistill.errors import AzdistillError, SpecError, UserError

COMPONENT = """\
type: command
name: greet
version: 1
outputs:
  out: {type: uri_file}
code: ./code
environment: file:../env/environment.yml
command: python greet.py > ${{outputs.out}}
"""
ENVIRONMENT = "name: greeting\nbuild:\n  path: .\n"


@pytest.fixture
def assets_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "greet" / "code").mkdir(parents=True)
    (folder / "env").mkdir()
    (folder / "greet" / "component.yml").write_text(COMPONENT)
    (folder / "greet" / "code" / "greet.py").write_text("print('hello')\n")
    (folder / "env" / "environment.yml").write_text(ENVIRONMENT)
    (folder / "env" / "Dockerfile").write_text("FROM python:3.11-slim\n")
    return folder


def run(*arguments: object) -> Result:
    ended = CliRunner().invoke(publish_command, [str(argument) for argument in arguments])
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


def states(*arguments: object) -> dict[str, str]:
    lines = run(*arguments, "--json").stdout.splitlines()
    return {asset["name"]: asset["state"] for asset in json.loads(lines[-1])["assets"]}


def puts(workspace: Workspace) -> int:
    return sum(request.method == "PUT" for request in workspace.requests)


def test_publishing_twice_puts_nothing_the_second_time(workspace: Workspace, assets_folder: Path) -> None:
    assert states(assets_folder) == {"greeting": "published", "greet": "published"}
    sent = puts(workspace)
    assert sent > 0
    assert states(assets_folder) == {"greeting": "unchanged", "greet": "unchanged"}
    assert puts(workspace) == sent
    assert workspace.violations == []


def test_a_component_runs_in_the_environment_that_was_published(workspace: Workspace, assets_folder: Path) -> None:
    run(assets_folder)
    (component,) = workspace.store["components"].values()
    (environment,) = workspace.store["environments"].values()
    named = component["properties"]["componentSpec"]["environment"]
    assert named.endswith(f"environments/greeting/versions/{environment['name']}")
    assert named.startswith("azureml:")


def test_only_what_has_changed_has_a_new_version(workspace: Workspace, assets_folder: Path) -> None:
    run(assets_folder)
    (assets_folder / "greet" / "code" / "greet.py").write_text("print('good evening')\n")
    assert states(assets_folder) == {"greeting": "unchanged", "greet": "published"}
    (assets_folder / "env" / "Dockerfile").write_text("FROM python:3.12-slim\n")
    assert states(assets_folder) == {"greeting": "published", "greet": "published"}


def test_the_version_written_in_the_file_makes_no_difference(assets_folder: Path) -> None:
    before = [asset.version for asset in publish.find([assets_folder])]
    file = assets_folder / "greet" / "component.yml"
    file.write_text(COMPONENT.replace("version: 1", "version: 2"))
    assert [asset.version for asset in publish.find([assets_folder])] == before
    file.write_text(COMPONENT.replace("name: greet", "name: greet\ndescription: Says hello."))
    assert [asset.version for asset in publish.find([assets_folder])] != before


def test_a_dry_run_says_what_would_happen_and_puts_nothing(workspace: Workspace, assets_folder: Path) -> None:
    ended = run(assets_folder, "--dry-run")
    assert "2 would be published, 0 unchanged, in the workspace loopback" in ended.stdout
    assert puts(workspace) == 0


def test_a_registry_has_its_own_references(workspace: Workspace, assets_folder: Path) -> None:
    store = workspace.add_registry("shared")
    assert "in the registry shared" in run(assets_folder, "--registry", "shared").stdout
    (component,) = store["components"].values()
    assert component["properties"]["componentSpec"]["environment"].startswith(
        "azureml://registries/shared/environments/greeting/versions/"
    )
    assert not workspace.store["components"]
    assert set(states(assets_folder, "--registry", "shared").values()) == {"unchanged"}


def test_an_environment_of_a_named_component_comes_with_it(assets_folder: Path) -> None:
    found = publish.find([assets_folder / "greet"])
    assert [(asset.kind, asset.name) for asset in found] == [("environment", "greeting"), ("component", "greet")]


def test_azdistills_own_are_found_without_paths() -> None:
    found = publish.find([])
    components = {asset.name for asset in found if asset.kind == "component"}
    assert components == {path.parent.name for path in (assets.root() / "components").glob("*/*/component.yml")}
    assert {asset.name for asset in found if asset.kind == "environment"} >= {"azdistill-data", "azdistill-train"}
    assert len({(asset.name, asset.version) for asset in found}) == len(found)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: folder / "nothing", "there is no"),
        (lambda folder: folder / "greet" / "code", "holds no component.yml"),
    ],
)
def test_what_holds_nothing_to_publish_is_said(write: Callable[[Path], Path], said: str, assets_folder: Path) -> None:
    with pytest.raises(UserError, match=said) as raised:
        publish.find([write(assets_folder)])
    assert raised.value.code == "AZD498"


def test_what_is_wrong_is_told_before_anything_is_sent(workspace: Workspace, assets_folder: Path) -> None:
    file = assets_folder / "greet" / "component.yml"
    file.write_text(COMPONENT.replace("${{outputs.out}}", "${{outputs.uot}}"))
    with pytest.raises(SpecError):
        run(assets_folder)
    assert not list(workspace.requests)


def test_a_registry_that_is_not_there_is_named(workspace: Workspace, assets_folder: Path) -> None:
    with pytest.raises(AzdistillError, match="the registry nowhere"):
        run(assets_folder, "--registry", "nowhere")
    assert puts(workspace) == 0


def test_every_kind_of_asset_has_a_version_of_its_own(assets_folder: Path) -> None:
    read: Any = aml.examine(assets_folder / "env" / "environment.yml")[0]
    assert read.name == "greeting"
    versions = [asset.version for asset in publish.find([assets_folder])]
    assert all(len(version) == publish.DIGITS for version in versions)
    assert len(set(versions)) == 2
