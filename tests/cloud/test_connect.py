"""Which workspace is meant, and what is said where it is not found."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Workspace
from submit_helpers import connection_to, impatient

from azdistill.cloud.workspace import clouds
from azdistill.cloud.workspace.connect import Where, connect
from azdistill.errors import AzdistillError, ServiceError, UserError

ALL = {"subscription_id": "sub-config", "resource_group": "group-config", "workspace_name": "work-config"}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable and no config.json says anything; the working directory is an empty folder."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "AZUREML_", "ARM_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "project" / "inner"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        yield workspace


def address(where: Where | None = None) -> tuple[str, str, str]:
    found = connect(where)
    return found.subscription_id, found.resource_group, found.workspace_name


@pytest.mark.parametrize("name", ["config.json", ".azureml/config.json", "aml_config/config.json"])
@pytest.mark.parametrize("above", [0, 1, 2])
def test_config_json_is_found_here_and_above(nothing_known: Path, name: str, above: int) -> None:
    path = [nothing_known, *nothing_known.parents][above] / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(ALL))
    try:
        assert address() == ("sub-config", "group-config", "work-config")
    finally:
        path.unlink()


def test_config_json_of_the_first_sdk_is_read_too(nothing_known: Path) -> None:
    scope = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    (nothing_known / "config.json").write_text(json.dumps({"Scope": scope}))
    assert address() == ("s", "g", "w")


def test_options_win_over_variables_and_variables_over_the_file(
    nothing_known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nothing_known / "config.json").write_text(json.dumps(ALL))
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "group-variable")
    monkeypatch.setenv("AZURE_ML_WORKSPACE", "work-variable")
    assert address(Where(workspace="work-option")) == ("sub-config", "group-variable", "work-option")


def test_the_variables_of_a_job_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SUBSCRIPTION", "s"), ("RESOURCEGROUP", "g"), ("WORKSPACE_NAME", "w")):
        monkeypatch.setenv(f"AZUREML_ARM_{name}", value)
    assert address() == ("s", "g", "w")


def test_a_profile_stands_between_options_and_variables(nothing_known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "sub-variable")
    text = "profiles: {dev: {subscription: sub-dev, resource_group: group-dev, workspace: work-dev}}"
    (nothing_known.parent / "azdistill.yml").write_text(text)
    assert address(Where(profile="dev", workspace="mine")) == ("sub-dev", "group-dev", "mine")


def test_what_is_missing_is_named_with_where_was_looked(nothing_known: Path) -> None:
    with pytest.raises(UserError) as caught:
        connect(Where(subscription="s", resource_group="g"))
    assert caught.value.code == "AZD411"
    assert caught.value.message.startswith("no workspace selected: the workspace is not known")
    assert "subscription" not in caught.value.message
    assert str(nothing_known) in caught.value.message
    assert ".azureml/config.json" in caught.value.message
    assert "--workspace" in caught.value.hint
    assert "AZURE_ML_WORKSPACE" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_config_json_that_cannot_be_read_is_named(nothing_known: Path, text: str) -> None:
    (nothing_known / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json") as caught:
        connect()
    assert caught.value.code == "AZD411"


def test_an_unknown_way_to_log_in_names_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        connect(Where("s", "g", "w", auth="odic"))
    assert caught.value.code == "AZD413"
    assert "oidc" in caught.value.hint


def test_oidc_without_its_variables_says_which() -> None:
    with pytest.raises(UserError, match="AZURE_TENANT_ID and AZURE_CLIENT_ID") as caught:
        connect(Where("s", "g", "w", auth="oidc"))
    assert "id-token: write" in caught.value.hint


@pytest.mark.parametrize(
    ("cloud", "arm", "studio"),
    [
        ("AzureCloud", "https://management.azure.com", "https://ml.azure.com/runs/x?"),
        ("AzureChinaCloud", "https://management.chinacloudapi.cn", "https://ml.azure.cn/runs/x?"),
        ("AzureUSGovernment", "https://management.usgovcloudapi.net", "https://ml.azure.us/runs/x?"),
    ],
)
def test_sovereign_clouds_have_addresses_of_their_own(cloud: str, arm: str, studio: str) -> None:
    found = connect(Where("s", "g", "w", cloud=cloud))
    assert found.cloud.resource_manager == arm
    assert found.cloud.scope == f"{arm}/.default"
    assert found.studio_url("x").startswith(studio)


def test_the_sovereign_clouds_are_those_of_the_sdk() -> None:
    from azure.ai.ml import _azure_environments as sdk

    for name, endpoints in sdk._environments.items():
        # The SDK also keeps there the clouds it was told of, and spills the last one's endpoints beside them.
        if name.startswith("Loopback") or not isinstance(endpoints, dict):
            continue
        ours = clouds.find(name).as_sdk()
        assert {key: value.rstrip("/") for key, value in endpoints.items()} == {
            key: value.rstrip("/") for key, value in ours.items()
        }


def test_an_unknown_cloud_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no cloud 'AzureChina'") as caught:
        connect(Where("s", "g", "w", cloud="AzureChina"))
    assert "AzureChinaCloud" in caught.value.hint
    assert "ARM_CLOUD_METADATA_URL" in caught.value.hint


def test_a_private_cloud_describes_itself(ws: Workspace) -> None:
    with ws.environ():
        found = connect()
        assert found.cloud.resource_manager == ws.url
        assert found.cloud.authority == ws.url
        # Found too where only the address of the description is given, as the SDK finds it.
        del os.environ["AZUREML_CURRENT_CLOUD"]
        assert connect().cloud == found.cloud


def test_a_description_that_does_not_answer_is_an_error_of_the_network(ws: Workspace) -> None:
    with ws.environ(), impatient():
        # Undone with everything else of the workspace's.
        os.environ["ARM_CLOUD_METADATA_URL"] = "https://127.0.0.1:1/metadata"
        with pytest.raises(AzdistillError) as caught:
            connect()
    assert (caught.value.code, caught.value.exit_code) == ("AZD408", 4)


def test_the_client_is_the_sdks_own_and_talks_to_the_private_cloud(ws: Workspace) -> None:
    with ws.environ():
        found = connect()
        assert type(found.ml_client).__module__ == "azure.ai.ml._ml_client"
        assert found.ml_client.workspaces.get(ws.name).name == ws.name
        assert found.workspace["name"] == ws.name


def test_a_workspace_that_does_not_exist_names_the_nearest(ws: Workspace) -> None:
    with ws.environ(), pytest.raises(ServiceError) as caught:
        _ = connection_to(ws, "loopbakc").workspace
    assert (caught.value.code, caught.value.exit_code) == ("AZD404", 4)
    assert "no workspace 'loopbakc'" in caught.value.message
    assert "did you mean 'loopback'?" in caught.value.hint


def test_where_workspaces_may_not_be_listed_the_hint_says_how_to_look(ws: Workspace) -> None:
    fault = ws.fail(
        "GET {sub}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces", status=403
    )
    with ws.environ(), pytest.raises(ServiceError) as caught:
        _ = connection_to(ws, "nowhere").workspace
    fault.times = 0
    assert fault.hits == 1
    assert "az ml workspace list" in caught.value.hint


def test_connecting_imports_neither_the_sdk_nor_anything_heavy() -> None:
    import subprocess

    code = (
        "import sys\nfrom azdistill.cloud.workspace.connect import Where, connect\n"
        "connect(Where('s', 'g', 'w')).studio_url('x')\n"
        "assert 'azure.ai.ml' not in sys.modules and 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ""})
