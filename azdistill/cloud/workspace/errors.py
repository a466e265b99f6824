"""What Azure's libraries raise, as errors of ours: what was tried, what was said, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azdistill.errors import AzdistillError, MachineError, ServiceError, UserError
from azdistill.redact import redact

LOGIN = (
    "log in with `az login`, or say how with --auth device|msi|oidc; "
    "in CI set AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret, or use OIDC"
)
#: What Resource Manager says is missing -> the smallest built-in role that has it.
_ROLES = (
    ("listsecrets", "AzureML Data Scientist (on the workspace)"),
    ("Microsoft.KeyVault", "Key Vault Secrets User (on the vault)"),
    ("Microsoft.Storage", "Storage Blob Data Contributor (on the storage account)"),
    ("blobServices", "Storage Blob Data Contributor (on the storage account)"),
    ("roleAssignments", "User Access Administrator"),
    ("computes/write", "AzureML Compute Operator (on the workspace)"),
    ("/read", "Reader (on the resource group)"),
    ("Microsoft.MachineLearningServices", "AzureML Data Scientist (on the workspace)"),
)


@contextmanager
def explain(doing: str) -> Iterator[None]:
    """Turn what Azure's libraries raise into our errors; ``doing`` reads after "while" ("submitting the job")."""
    try:
        yield
    except AzdistillError:
        raise
    except Exception as error:
        ours = translate(error, doing)
        if ours is None:
            raise
        raise ours from error


def translate(error: BaseException, doing: str) -> AzdistillError | None:
    """Our error for ``error``; None where it is no business of Azure's libraries."""
    from azure.core import exceptions

    chain = list(_chain(error))
    for one in chain:
        # A login that is refused may carry the answer of Entra ID, which is none of the service that was to be asked.
        if isinstance(one, exceptions.ClientAuthenticationError) and "AADSTS" in str(one):
            return _not_logged_in(one, doing)
    for one in chain:
        if isinstance(one, exceptions.HttpResponseError) and getattr(one, "response", None) is not None:
            return _answered(one, doing)
    for one in chain:
        if isinstance(one, exceptions.ClientAuthenticationError):
            return _not_logged_in(one, doing)
        if isinstance(one, exceptions.ServiceRequestError | exceptions.ServiceResponseError) or _of_requests(one):
            return ServiceError(f"no answer while {doing}: {_first_line(one)}", code="AZD408", hint=_NETWORK)
    if isinstance(error, exceptions.AzureError) or type(error).__module__.startswith(("azure.", "marshmallow")):
        return _said_by_sdk(error, doing)
    return None


_NETWORK = "check the network, a proxy (HTTPS_PROXY) and its certificates (REQUESTS_CA_BUNDLE)"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those beneath it: the SDK wraps what it met."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__


def _of_requests(error: BaseException) -> bool:
    return isinstance(error, OSError) and type(error).__module__.startswith(("requests", "urllib3"))


def _not_logged_in(error: BaseException, doing: str) -> AzdistillError:
    return MachineError(f"not logged in to Azure, while {doing}: {_login(error)}", code="AZD401", hint=LOGIN)


def _login(error: BaseException) -> str:
    """Why nobody is logged in: the sentence of Entra ID where there is one."""
    found = re.search(r"AADSTS\d+:[^\r\n]*", str(error))
    return redact(_line(found[0])) if found else _first_line(error)


def _answered(error: Any, doing: str) -> AzdistillError:
    """A service answered, and it was no."""
    status = int(error.status_code or 0)
    said = _said(error)
    if status == 401:
        return ServiceError(f"Azure refused the credentials (401) while {doing}: {said}", code="AZD402", hint=LOGIN)
    if status == 403:
        return ServiceError(f"not permitted (403) while {doing}: {said}", code="AZD403", hint=_role(error, doing))
    if status == 404:
        return ServiceError(f"not found (404) while {doing}: {said}", code="AZD404")
    if status in (409, 412):
        hint = "somebody else changed it at the same time: try again"
        return ServiceError(f"a conflict ({status}) while {doing}: {said}", code="AZD405", hint=hint)
    if status == 429:
        return ServiceError(f"Azure asks for patience (429) while {doing}: {said}", code="AZD406", hint=_wait(error))
    if status >= 500:
        hint = "this is Azure's: try again; https://status.azure.com tells of outages"
        return ServiceError(f"the service failed ({status}) while {doing}: {said}", code="AZD407", hint=hint)
    return ServiceError(f"Azure refused ({status}) while {doing}: {said}", code="AZD409")


def _wait(error: Any) -> str:
    seconds = error.response.headers.get("Retry-After") if error.response is not None else None
    return f"it asks to wait {seconds} s" if seconds else "wait a little and try again"


def _role(error: Any, doing: str) -> str:
    text = f"{error.message} {doing} {getattr(error.response, 'request', None) and error.response.request.url}"
    for mark, role in _ROLES:
        if mark.lower() in text.lower():
            return f"the role {role} permits it; a new assignment takes some minutes to count"
    return "ask an owner of the resource group for the role AzureML Data Scientist on the workspace"


def _said(error: Any) -> str:
    """What the service says, in one line, and its code."""
    inner = getattr(error, "error", None)
    message = getattr(inner, "message", None) or error.reason or error.message or ""
    code = getattr(inner, "code", None)
    text = _line(str(message))
    return redact(f"{text} ({code})" if code and code not in text else text)


def _said_by_sdk(error: BaseException, doing: str) -> AzdistillError:
    """azure-ai-ml refused by itself: what it was given is wrong, or is not there."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(getattr(error, "message", None) or error))
    # Most of what it formats is advice on other tools; the sentences after a cross are what is wrong.
    crosses = [found.strip() for found in re.findall(r"^\(x\)((?:.|\n(?=- ))+)", text, re.MULTILINE)]
    message = redact(_line("; ".join(crosses) or text))
    return UserError(f"azure-ai-ml refused while {doing}: {message}", code="AZD410")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(getattr(error, "message", None) or error).splitlines() if line.strip()]
    return redact(_line(lines[0] if lines else type(error).__name__))


def _line(text: str, most: int = 400) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
