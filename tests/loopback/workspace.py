"""A workspace of Azure Machine Learning on 127.0.0.1: what the real SDK and azure-identity can be pointed at."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import arm, blobs
from .authority import Authority
from .certificates import server_context, write_bundle
from .checking import Checker, Violation
from .credentials import LoopbackCredential
from .faults import Fault, Faults
from .messages import ArmError, Request, Response, ServiceError
from .record import Record, Recorded
from .routes import Router
from .schemas import Schemas
from .server import Cut, Server
from .store import Store
from .tokens import Tokens


class Workspace:
    """Serves one workspace (and what lies around it) over TLS for as long as it is entered.

    ``folder`` holds the blobs (``blobs/<account>/<container>/...``) and the certificate. ``shared`` is a folder with
    ``arm-schemas``; without them nothing is checked and ``schemas`` is None. With ``identity_storage`` datastores give
    no credentials and blobs ask for a token of the storage scope. With ``execute`` submitted jobs are run.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        shared: str | Path | None = None,
        identity_storage: bool = False,
        clock: Any = None,
        execute: bool = True,
        name: str = "loopback",
        port: int = 0,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name, self.group, self.location = name, "loopback-rg", "westeurope"
        self.subscription_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, "subscription.loopback"))
        self.tenant_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, "tenant.loopback"))
        self.guid = str(uuid.uuid4())
        self.client_id, self.client_secret = str(uuid.uuid4()), f"secret-{uuid.uuid4().hex}"
        self.identity_header, self.managed_identity = uuid.uuid4().hex, True
        self.federated_subjects = {"repo:loopback/loopback:ref:refs/heads/main"}
        self.device_signs_in = True
        self.identity_storage, self.execute, self.clock = identity_storage, execute, clock
        self.settings = arm.Settings()
        self.lock = threading.RLock()
        self.routes, self.faults = Router(), Faults()
        self.requests = Record(self.folder / "requests")
        self.tokens = Tokens(self.tenant_id)
        self.schemas = Schemas.find(shared)
        self.check = Checker(self.schemas)
        self.stores: dict[str, Store] = {}
        self.store = self.scope(name)
        self.errors: list[str] = []
        self.endpoint_keys: dict[str, dict[str, str]] = {}
        self.vaults: dict[str, dict[str, str]] = {"loopback": {}}
        self.roles = list(arm.access.ROLES)
        self._events: dict[str, list[Callable[..., Any]]] = defaultdict(list)
        self._closing = contextlib.ExitStack()
        self._port, self.url, self.ca = port, "", write_bundle(self.folder)
        self._install()

    # Serving -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Workspace:
        server = Server(self._answer, server_context(), self._port)
        self._closing.callback(server.close)
        self.url = self.tokens.base = server.url
        self.emit("start")
        return self

    def __exit__(self, *_: object) -> None:
        self.emit("close")
        self._closing.close()
        if os.environ.get("AZUREML_CURRENT_CLOUD") == self.cloud:
            # The SDK sets it for the whole process; it names a server that is gone.
            del os.environ["AZUREML_CURRENT_CLOUD"]

    def _install(self) -> None:
        self.authority = Authority(self)
        self.blobs = blobs.Blobs(self)
        arm.install(self)
        if self.execute:
            from . import execution

            execution.install(self)

    def _answer(self, request: Request) -> Response:
        found = self.routes.find(request.method, request.path)
        route, request.params = found or (None, {})
        request.route = route.name if route else ""
        kept = self.requests.add(request)
        response = self._handled(request, route)
        kept.status = response.status
        if kept.status == 0:
            raise Cut(response if response.body else None)
        response.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        return response

    def _handled(self, request: Request, route: Any) -> Response:
        try:
            fault = self.faults.before(request)
            if route is None:
                self.check.unserved(request)
                raise ArmError(404, "InvalidResourceType", f"No route answers {request.method} {request.path}.")
            if route.guard != "none":
                request.claims = self.tokens.check(request, route.guard)
            request.store = self._store_of(request)
            self.check.body(request)
            return self.faults.after(fault, route.handler(request))
        except ServiceError as error:
            return error.response()
        except Cut as cut:
            return Response(cut.response.content() if cut.response else b"", 0)
        except Exception as error:  # noqa: BLE001 (a handler's own mistake is answered as a service's would be)
            self.errors.append(traceback.format_exc())
            return ArmError(500, "InternalServerError", f"{type(error).__name__}: {error}").response()

    # The resources it holds --------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The workspace's ARM id."""
        return self.store.scope

    @property
    def cloud(self) -> str:
        """The name of the cloud whose ARM, authority and storage are this server."""
        return f"Loopback{self.url.rpartition(':')[2]}"

    @property
    def vault_address(self) -> str:
        """Where vaults are, ``{vault}`` standing for a name; their secrets are in ``vaults``."""
        return f"{self.url}/keyvault/{{vault}}"

    def scope(self, name: str, *, registry: bool = False) -> Store:
        """The store of a workspace (this one, or another of the same group), or of a registry; made if need be."""
        path = self.scope_path(name, registry)
        return self.stores.setdefault(path.lower(), Store(path))

    def _store_of(self, request: Request) -> Store | None:
        for variable, kind in (("workspace", "Workspace"), ("registry_name", "Registry")):
            if variable in request.params:
                return self._known(request, request.params[variable], kind)
        return None

    def _known(self, request: Request, name: str, kind: str) -> Store:
        params = request.params
        if params.get("subscription", self.subscription_id).lower() != self.subscription_id:
            message = f"The subscription '{params['subscription']}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", message)
        if params.get("group", self.group).lower() != self.group.lower():
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{params['group']}' could not be found.")
        path = self.scope_path(name, kind == "Registry").lower()
        if path not in self.stores:
            type_ = "workspaces" if kind == "Workspace" else "registries"
            message = (
                f"The Resource 'Microsoft.MachineLearningServices/{type_}/{name}' under resource group '{self.group}'"
            )
            raise ArmError(404, "ResourceNotFound", f"{message} was not found.")
        return self.stores[path]

    def scope_path(self, name: str, registry: bool = False) -> str:
        """The ARM id that a workspace or registry has."""
        kind = "registries" if registry else "workspaces"
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"
        return f"{group}/providers/Microsoft.MachineLearningServices/{kind}/{name}"

    # What plugs in -----------------------------------------------------------------------------------------------

    def on(self, event: str, callback: Callable[..., Any]) -> None:
        """Call back at an event, see ``loopback.execution.install`` for their names and arguments."""
        self._events[event].append(callback)

    def emit(self, event: str, *args: Any) -> list[Any]:
        """Tell those who asked for an event, in the order in which they did; returns what they answer."""
        return [callback(*args) for callback in self._events[event]]

    def add_compute(self, name: str, size: str = "STANDARD_DS3_V2", **settings: Any) -> dict[str, Any]:
        """Let the workspace have a compute.

        ``settings``: ``type`` (AmlCompute, ComputeInstance), ``min_nodes``, ``max_nodes``, ``priority`` (Dedicated,
        LowPriority), ``state`` (its provisioning state), and further properties under the names that ARM gives them.
        """
        return arm.add_compute(self, name, size, **settings)

    def add_registry(self, name: str) -> Store:
        """Let there be a registry; returns its store."""
        return self.scope(name, registry=True)

    # What tests ask ----------------------------------------------------------------------------------------------

    @property
    def checked(self) -> int:
        """How many bodies were checked against a schema."""
        return self.check.checked

    @property
    def sent(self) -> int:
        """How many bodies were sent to ARM."""
        return self.check.sent

    @property
    def violations(self) -> list[Violation]:
        """What did not fit the schemas, less what the SDK is known to send (``known_deviations``)."""
        return self.check.violations

    @property
    def known_deviations(self) -> list[Violation]:
        """What did not fit the schemas and is the SDK's own doing."""
        return self.check.known

    def seen(self, text: str) -> list[Recorded]:
        """The requests that hold a text in any encoding that it could have travelled in."""
        return self.requests.seen(text)

    def fail(self, route: str, **how: Any) -> Fault:
        """Let requests to a route fail.

        ``route`` is a route's name (``PUT {ws}/jobs/{name}``) or a method and path, ``*`` for anything. ``status``
        answers with an error (``code`` and ``message`` in its body, ``headers`` such as Retry-After); ``cut`` cuts the
        connection: ``before`` the request is handled, ``after`` it was, or in the ``body`` of the answer; ``delay`` is
        latency in seconds. ``times``: so often, then no more; ``after``: so many requests pass first.
        """
        return self.faults.add(Fault(route, **how))

    # Pointing others here ----------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """The variables that make a process use this workspace: cloud, certificate, workspace, credentials."""
        return {
            **self.cloud_environment(),
            "AZURE_TENANT_ID": self.tenant_id,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
            "AZURE_SUBSCRIPTION_ID": self.subscription_id,
            "AZURE_RESOURCE_GROUP": self.group,
            "AZURE_ML_WORKSPACE": self.name,
            "AZUREML_ARM_SUBSCRIPTION": self.subscription_id,
            "AZUREML_ARM_RESOURCEGROUP": self.group,
            "AZUREML_ARM_WORKSPACE_NAME": self.name,
        }

    def cloud_environment(self) -> dict[str, str]:
        """The part of ``environment`` that says where the cloud is, without who is calling and which workspace."""
        return {
            "ARM_CLOUD_METADATA_URL": f"{self.url}/metadata/endpoints?api-version=2019-05-01",
            "AZUREML_CURRENT_CLOUD": self.cloud,
            "AZURE_AUTHORITY_HOST": self.url,
            "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{self.url}/",
            "REQUESTS_CA_BUNDLE": str(self.ca),
            "SSL_CERT_FILE": str(self.ca),
            "CURL_CA_BUNDLE": str(self.ca),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def federation(self, folder: Path) -> dict[str, str]:
        """The variables of workload identity federation (OIDC) instead of a secret; the token lies in ``folder``."""
        import jwt

        subject = sorted(self.federated_subjects)[0]
        claims = {"sub": subject, "iss": "https://token.actions.loopback", "aud": "api://AzureADTokenExchange"}
        path = folder / "federated-token"
        path.write_text(jwt.encode({**claims, "exp": 4102444800}, "0" * 32, "HS256"))
        kept = {name: value for name, value in self.environment().items() if name != "AZURE_CLIENT_SECRET"}
        return {**kept, "AZURE_FEDERATED_TOKEN_FILE": str(path)}

    def managed(self) -> dict[str, str]:
        """The variables that a job's managed identity has, instead of a secret."""
        kept = {name: value for name, value in self.environment().items() if not name.startswith("AZURE_CLIENT")}
        return {**kept, "IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.identity_header}

    def credential(self) -> LoopbackCredential:
        """A credential for use in this process."""
        return LoopbackCredential(self.tokens)

    @contextlib.contextmanager
    def environ(self) -> Iterator[None]:
        """This process's environment points at the workspace for as long as the block lasts."""
        saved = dict(os.environ)
        os.environ.update(self.environment())
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(saved)

    def client(self, **options: Any) -> Any:
        """An unmodified ``azure.ai.ml.MLClient``. Until the end ``REQUESTS_CA_BUNDLE`` is set: blob clients read it."""
        from azure.ai.ml import MLClient

        self._trust_here()
        options.setdefault("subscription_id", self.subscription_id)
        options.setdefault("resource_group_name", self.group)
        if "registry_name" not in options:
            options.setdefault("workspace_name", self.name)
        metadata = {
            "azure_portal": "https://portal.azure.com/",
            "resource_manager": self.url,
            "active_directory": self.url,
            "aml_resource_id": "https://ml.azure.com",
            "storage_endpoint": "core.windows.net",
            "registry_discovery_endpoint": f"{self.url}/",
        }
        options.setdefault("show_progress", False)
        return MLClient(self.credential(), cloud=self.cloud, cloud_metadata=metadata, enable_telemetry=False, **options)

    def _trust_here(self) -> None:
        before = os.environ.get("REQUESTS_CA_BUNDLE")
        if before != str(self.ca):
            os.environ["REQUESTS_CA_BUNDLE"] = str(self.ca)
            self._closing.callback(_restore, "REQUESTS_CA_BUNDLE", before)

    def config(self, folder: str | Path) -> Path:
        """Write the ``config.json`` of this workspace into a folder."""
        path = Path(folder) / "config.json"
        names = {
            "subscription_id": self.subscription_id,
            "resource_group": self.group,
            "workspace_name": self.name,
        }
        path.write_text(json.dumps(names, indent=4) + "\n")
        return path


def _restore(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value
