"""Secrets travel as references and become values only inside the step that uses them.

    env:NAME                 the environment variable NAME
    connection:NAME          the key of a workspace connection (roles: AzureML Data Scientist on the workspace)
    keyvault:VAULT/SECRET    a secret of a Key Vault (role: Key Vault Secrets User)
    entra                    a token of Microsoft Entra ID (role: Cognitive Services OpenAI User, or the endpoint's own)

``${...}`` around a reference is accepted. A literal is refused: it would be readable in the job, its logs and its YAML.

Outside Azure's public cloud these variables say where its services are; ``azdistill submit`` sets them on the nodes:

    AZDISTILL_ARM_ENDPOINT     Resource Manager (default: https://management.azure.com)
    AZDISTILL_VAULT_ADDRESS    a vault, {vault} standing for its name (default: https://{vault}.vault.azure.net)
    AZDISTILL_VAULT_SCOPE      what tokens for vaults are asked for (default: what the address ends in, and /.default)
    AZDISTILL_ENTRA_SCOPE      what `entra` asks for (default: https://cognitiveservices.azure.com/.default)
    AZURE_AUTHORITY_HOST       where tokens come from (as azure-identity reads it)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from common import spellings
from common.entra import NoToken, token

_KEYVAULT_API = "7.4"
_CONNECTIONS_API = "2024-04-01"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
ARM_ENDPOINT = "https://management.azure.com"
VAULT_ADDRESS = "https://{vault}.vault.azure.net"

#: A shorter value is hidden as a whole word only.
_SHORTEST = 6
#: A shorter value may stand in a text by chance (``EMPTY``, a usual key of vLLM); no row is rejected for it.
LONG = 16
#: What stands where a text was left out because a secret is spelt in it in a way that cannot be cut out.
WITHHELD = "*** (left out: it spells a secret)"
_values: set[str] = set()


class SecretError(Exception):
    """A reference that cannot be resolved. Never holds the value of a secret.

    ``refused`` tells a service that said no from a reference that names nothing.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


def resolve(reference: str) -> str:
    """The value that ``reference`` stands for. Raises SecretError. The value is hidden from :func:`redact`-ed text."""
    text = reference.strip()
    wrapped = re.fullmatch(r"\$\{(.+)\}", text)
    kind, _, name = (wrapped.group(1) if wrapped else text).partition(":")
    resolver = _RESOLVERS.get(kind)
    if resolver is None or (kind != "entra" and not name):
        raise SecretError(
            "a key is given by reference: env:NAME, connection:NAME, keyvault:VAULT/SECRET or entra; "
            "what was given is none of these (a literal key is refused)"
        )
    value = resolver(name)
    _hide(value)
    return value


def redact(text: str) -> str:
    """``text`` with every value that was resolved in this process replaced by ``***``, in its usual spellings too.

    A short one, such as the ``EMPTY`` that a server at home takes for a key, is hidden where it is a word of its own.
    Where a long one is spelt in a way that cannot be cut out, nothing of the text is left.
    """
    spelt = {form for value in _values if len(value) >= _SHORTEST for form in spellings.forms(value)}
    for form in sorted(spelt, key=len, reverse=True):
        text = text.replace(form, "***")
    for value in _values:
        if len(value) < _SHORTEST:
            text = re.sub(_word(value), "***", text)
    return WITHHELD if holds_secret(text) else text


def know(reference: str | None) -> None:
    """Hide what a reference stands for where that is found without asking a service; it may be missing."""
    with contextlib.suppress(SecretError):
        if reference and reference.strip().removeprefix("${").startswith("env:"):
            resolve(reference)


def holds_secret(value: Any) -> bool:
    """Whether a JSON value holds a resolved value of 16 characters or more, in any spelling."""
    long = [secret for secret in _values if len(secret) >= LONG]
    return bool(long) and any(spellings.holds(text, secret) for text in _texts(value) for secret in long)


def holds_short_secret(value: Any) -> bool:
    """Whether a JSON value holds a shorter one: those of fewer than six characters as a word of its own."""
    words = [
        _word(secret) if len(secret) < _SHORTEST else re.escape(secret) for secret in _values if len(secret) < LONG
    ]
    return bool(words) and any(re.search("|".join(words), text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """All texts and numbers in a JSON value, names of fields included."""
    # No recursion: a server may nest deeper than Python calls.
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending += [*part, *part.values()]
        elif isinstance(part, list):
            pending += part
        elif part is not None:
            yield part if isinstance(part, str) else str(part)


def _word(value: str) -> str:
    """Finds ``value`` where it is no part of a longer word, path or number, nor of a row of its own last character."""
    first, last = re.escape(value[0]), re.escape(value[-1])
    return rf"(?<![\w/-])(?<!\w\.)(?<!{first}){re.escape(value)}(?![\w/-]|\.\w)(?!{last})"


def _hide(value: str) -> None:
    # A blank one would be found everywhere.
    if value.strip():
        _values.add(value)


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise SecretError(f"the environment variable {name} is not set (the reference env:{name} names it)")
    return value


def _from_entra(scope: str) -> str:
    return _token(scope or os.environ.get("AZDISTILL_ENTRA_SCOPE", ENTRA_SCOPE))


def _from_keyvault(name: str) -> str:
    vault, _, secret = name.partition("/")
    if not secret:
        raise SecretError(f"keyvault:{name} has no secret: write keyvault:VAULT/SECRET")
    address, scope = _vault(vault)
    body = _call(
        "GET", f"{address}/secrets/{quote(secret, safe='')}?api-version={_KEYVAULT_API}", scope, f"keyvault:{name}"
    )
    return str(body["value"])


def _vault(name: str) -> tuple[str, str]:
    """The address of a vault and the scope of its tokens; a name with a dot is a host."""
    if "." in name:
        return f"https://{name}", f"https://{name.partition('.')[2]}/.default"
    template = os.environ.get("AZDISTILL_VAULT_ADDRESS", VAULT_ADDRESS)
    suffix = template.partition("{vault}.")[2].rstrip("/")
    scope = os.environ.get("AZDISTILL_VAULT_SCOPE") or f"https://{suffix or 'vault.azure.net'}/.default"
    return template.rstrip("/").replace("{vault}", name), scope


def _from_connection(name: str) -> str:
    arm = os.environ.get("AZDISTILL_ARM_ENDPOINT", ARM_ENDPOINT).rstrip("/")
    url = f"{arm}{_workspace()}/connections/{quote(name, safe='')}/listsecrets?api-version={_CONNECTIONS_API}"
    properties = _call("POST", url, f"{arm}/.default", f"connection:{name}").get("properties", {})
    credentials = properties.get("credentials") or {}
    # An API-key connection has `key`; a custom one names its own fields.
    keys = credentials.get("keys") or {}
    value = credentials.get("key") or keys.get("key") or credentials.get("pat")
    if not value and len(keys) == 1:
        value = next(iter(keys.values()))
    if not value:
        raise SecretError(f"the workspace connection {name} holds no key (its type is {properties.get('authType')})")
    return str(value)


def _workspace() -> str:
    """The ARM id of the workspace, from the variables that Azure ML sets in a job."""
    names = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        raise SecretError(
            f"a workspace connection resolves inside an Azure ML job only: {', '.join(names)} are not set"
        )
    return (
        f"/subscriptions/{values[0]}/resourceGroups/{values[1]}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{values[2]}"
    )


def _token(scope: str) -> str:
    try:
        value = token(scope)
    except NoToken as error:
        raise SecretError(f"no credential gave a token for {scope}: {error}", refused=True) from error
    _hide(value)
    return value


def _call(method: str, url: str, scope: str, reference: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {_token(scope)}", "Content-Length": "0"}
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: dict[str, Any] = json.load(answer)
            return body
    except urllib.error.HTTPError as error:
        raise SecretError(f"{reference}: the service answered {error.code} {error.reason}", refused=True) from error
    except (OSError, ValueError) as error:
        raise SecretError(f"{reference}: {error}") from error


_RESOLVERS: dict[str, Callable[[str], str]] = {
    "env": _from_environment,
    "entra": _from_entra,
    "keyvault": _from_keyvault,
    "connection": _from_connection,
}
