"""Which workspace, and a client for it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from azdistill.cloud.workspace import clouds
from azdistill.cloud.workspace.clouds import Cloud
from azdistill.cloud.workspace.credentials import make_credential
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed, quiet, without_bars
from azdistill.cloud.workspace.rest import Rest
from azdistill.errors import MachineError, ServiceError, UserError, did_you_mean

#: Where config.json is looked for, in each folder from the working directory upwards.
CONFIG = ("config.json", ".azureml/config.json", "aml_config/config.json")
#: A part of the address -> its option, its variables, its key in config.json.
_PARTS = {
    "subscription": (("AZURE_SUBSCRIPTION_ID", "AZUREML_ARM_SUBSCRIPTION"), "subscription_id"),
    "resource_group": (("AZURE_RESOURCE_GROUP", "AZUREML_ARM_RESOURCEGROUP"), "resource_group"),
    "workspace": (("AZURE_ML_WORKSPACE", "AZUREML_ARM_WORKSPACE_NAME"), "workspace_name"),
}


@dataclass(frozen=True, slots=True)
class Where:
    """Which workspace, as far as the command line says. ``auth`` is one of credentials.WAYS; ``profile`` names one of
    azdistill.yml.
    """

    subscription: str | None = None
    resource_group: str | None = None
    workspace: str | None = None
    tenant: str | None = None
    auth: str | None = None
    cloud: str | None = None
    profile: str | None = None


class Connection:
    """A workspace and what talks to it. Nothing is asked before it is used."""

    def __init__(self, subscription_id: str, resource_group: str, name: str, cloud: Cloud, credential: Any) -> None:
        self.subscription_id, self.resource_group, self.workspace_name = subscription_id, resource_group, name
        self.cloud, self.credential = cloud, credential

    @property
    def group_id(self) -> str:
        """The ARM id of the resource group."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"

    @property
    def workspace_id(self) -> str:
        """The ARM id of the workspace."""
        return f"{self.group_id}/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"

    @cached_property
    def ml_client(self) -> Any:
        """An unmodified ``azure.ai.ml.MLClient``."""
        return self.make_client()

    def make_client(self, **options: Any) -> Any:
        """An ``azure.ai.ml.MLClient`` of the workspace, with ``options`` of its constructor."""
        place = (self.subscription_id, self.resource_group, self.workspace_name)
        return self._client(f"the workspace {self.workspace_name}", *place, **options)

    def registry_client(self, name: str) -> Any:
        """An ``MLClient`` of the registry ``name``."""
        return self._client(f"the registry {name}", registry_name=name)

    def _client(self, what: str, *place: str, **options: Any) -> Any:
        client = _import_sdk()
        metadata = {} if self.cloud.public else {"cloud_metadata": self.cloud.as_sdk()}
        # Without progress bars it never looks at what came of an upload, and waits for ever for one that failed
        # (azure-ai-ml 1.35, upload_directory). So they are on, and drawn by a tqdm that draws nothing.
        settings = {"show_progress": True, "enable_telemetry": False}
        with explain(f"connecting to {what}"), hushed():
            return client(self.credential, *place, cloud=self.cloud.name, **{**settings, **metadata, **options})

    @cached_property
    def rest(self) -> Rest:
        """Calls that the SDK has no method for (:class:`azdistill.cloud.workspace.rest.Rest`)."""
        quiet()
        return Rest(self.credential, self.cloud.resource_manager, self.cloud.scope)

    @cached_property
    def workspace(self) -> dict[str, Any]:
        """The workspace as Resource Manager describes it. ServiceError AZD404 where there is none of its name."""
        with explain(f"looking up the workspace {self.workspace_name}"):
            body: dict[str, Any] | None = self.rest.find(self.workspace_id)
            if body is None:
                raise self._no_workspace()
        return body

    @property
    def location(self) -> str:
        """The region of the workspace."""
        return str(self.workspace["location"])

    def studio_url(self, job_name: str) -> str:
        """The page of a job in Azure ML studio."""
        return f"{self.cloud.machine_learning}/runs/{job_name}?wsid={self.workspace_id}"

    def _no_workspace(self) -> ServiceError:
        from azure.core.exceptions import AzureError

        place = f"in the resource group {self.resource_group} of subscription {self.subscription_id}"
        names = []
        # The workspaces beside this one, as far as the caller may list them.
        with suppress(AzureError):
            path = f"{self.group_id}/providers/Microsoft.MachineLearningServices/workspaces"
            names = [str(workspace["name"]) for workspace in self.rest.listed(path)]
        hint = did_you_mean(self.workspace_name, names)
        return ServiceError(
            f"there is no workspace '{self.workspace_name}' {place}",
            code="AZD404",
            hint=hint or "check --subscription, --resource-group and --workspace; `az ml workspace list` shows yours",
        )


def connect(where: Where | None = None, folder: Path | None = None, credential: Any = None) -> Connection:
    """The workspace that ``where``, its profile, the environment or config.json names, in this order.

    ``folder`` is where azdistill.yml is looked for, and above it (default: the working directory). UserError AZD411
    where none of them names the workspace. Asks no service, unless a private cloud describes itself.
    """
    quiet()
    where = where or Where()
    if where.profile is not None:
        # Only here: it reads YAML.
        from azdistill.cloud.workspace.profiles import find_profile

        settings = find_profile(where.profile, folder or Path.cwd()).where
        where = replace(where, **{key: text for key, text in settings.items() if getattr(where, key) is None})
    subscription, group, name = _address(where)
    with explain("looking up the cloud"):
        cloud = clouds.find(where.cloud)
        if credential is None:
            credential = make_credential(where.auth, where.tenant, cloud)
    return Connection(subscription, group, name, cloud, credential)


def _address(where: Where) -> tuple[str, str, str]:
    address = {part: getattr(where, part) or _variable(names) for part, (names, _) in _PARTS.items()}
    if not all(address.values()):
        config, searched = _config(Path.cwd())
        address = {part: name or config.get(_PARTS[part][1]) for part, name in address.items()}
        if missing := [part for part, name in address.items() if not name]:
            raise _unnamed(missing, searched)
    return str(address["subscription"]), str(address["resource_group"]), str(address["workspace"])


def _variable(names: Iterable[str]) -> str | None:
    """The value of the first of these variables that has one."""
    values = (os.environ.get(name) for name in names)
    return next((value for value in values if value), None)


def _unnamed(missing: list[str], searched: str) -> UserError:
    options = ", ".join("--" + part.replace("_", "-") for part in missing)
    variables = ", ".join(_PARTS[part][0][0] for part in missing)
    words = ", ".join(part.replace("_", " ") for part in missing)
    return UserError(
        f"no workspace selected: the {words} is not known ({searched})",
        code="AZD411",
        hint=f"give {options}, set {variables}, or download config.json of the workspace in Azure ML studio",
    )


def _config(start: Path) -> tuple[dict[str, Any], str]:
    """The nearest config.json, and where it was looked for."""
    for folder in (start, *start.parents):
        for name in CONFIG:
            if not (folder / name).is_file():
                continue
            config = _read_config(folder / name)
            # Models have a config.json too.
            if any(config.get(key) for _, key in _PARTS.values()):
                return config, f"{folder / name} does not name it"
    return {}, f"{start} and the folders above it hold no {', '.join(CONFIG)}"


def config_at(path: Path) -> Where:
    """The workspace that a config.json names. UserError AZD411 where it does not."""
    config = _read_config(path)
    if missing := [part for part, (_, key) in _PARTS.items() if not config.get(key)]:
        raise _unnamed(missing, f"{path} does not name it")
    return Where(**{part: str(config[key]) for part, (_, key) in _PARTS.items()})


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", code="AZD411", hint="download it anew") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no JSON object", code="AZD411", hint="download it anew")
    # What azure-ai-ml accepts too: the file of the first SDK wraps everything in Scope.
    scope = config.get("Scope")
    if isinstance(scope, str):
        words = scope.strip("/").split("/")
        names = dict(zip(words[::2], words[1::2], strict=False))
        return {
            "subscription_id": names.get("subscriptions"),
            "resource_group": names.get("resourceGroups"),
            "workspace_name": names.get("workspaces") or names.get("accounts"),
        }
    return config


_importing: list[threading.Thread] = []


def begin_import() -> None:
    """Start importing azure-ai-ml in a thread (it takes two seconds), so that checks can be done meanwhile."""
    if not _importing:
        _importing.append(threading.Thread(target=_try_import, name="import azure.ai.ml", daemon=True))
        _importing[0].start()


def _try_import() -> None:
    # Whoever needs it will say that it is missing.
    with suppress(MachineError):
        _import_sdk()


def _import_sdk() -> Any:
    quiet()
    try:
        with without_bars():
            from azure.ai.ml import MLClient
    except ImportError as error:
        hint = "install azdistill anew: pip install azdistill"
        raise MachineError(f"azure-ai-ml cannot be imported: {error}", code="AZD414", hint=hint) from error
    quiet()
    return MLClient
