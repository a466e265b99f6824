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
_CONFLICT = ("AZD405", "a conflict", "somebody else changed it at the same time: try again")
#: Status (500 stands for all above) -> code, words and hint of our error.
_STATUSES = {
    401: ("AZD402", "Azure refused the credentials", LOGIN),
    403: ("AZD403", "not permitted", ""),
    404: ("AZD404", "not found", ""),
    409: _CONFLICT,
    412: _CONFLICT,
    429: ("AZD406", "Azure asks for patience", ""),
    500: ("AZD407", "the service failed", "this is Azure's: try again; https://status.azure.com tells of outages"),
}


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
    for cause in chain:
        # A login that is refused may carry the answer of Entra ID, which is none of the service that was to be asked.
        if isinstance(cause, exceptions.ClientAuthenticationError) and "AADSTS" in str(cause):
            return _not_logged_in(cause, doing)
    for cause in chain:
        if isinstance(cause, exceptions.HttpResponseError) and getattr(cause, "response", None) is not None:
            return _answered(cause, doing)
    for cause in chain:
        if isinstance(cause, exceptions.ClientAuthenticationError):
            return _not_logged_in(cause, doing)
        if isinstance(cause, exceptions.ServiceRequestError | exceptions.ServiceResponseError) or _of_requests(cause):
            return ServiceError(f"no answer while {doing}: {_first_line(cause)}", code="AZD408", hint=_NETWORK)
    if isinstance(error, exceptions.AzureError) or type(error).__module__.startswith(("azure.", "marshmallow")):
        return _refused_by_sdk(error, doing)
    return None


_NETWORK = "check the network, a proxy (HTTPS_PROXY) and its certificates (REQUESTS_CA_BUNDLE)"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those beneath it: the SDK wraps what it met."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__


def _of_requests(error: BaseException) -> bool:
    return isinstance(error, OSError) and type(error).__module__.startswith(("requests", "urllib3"))


def _not_logged_in(error: BaseException, doing: str) -> AzdistillError:
    return MachineError(f"not logged in to Azure, while {doing}: {_login(error)}", code="AZD401", hint=LOGIN)


def _login(error: BaseException) -> str:
    """Why nobody is logged in: the sentence of Entra ID where there is one."""
    sentence = re.search(r"AADSTS\d+:[^\r\n]*", str(error))
    return redact(_line(sentence[0])) if sentence else _first_line(error)


def _answered(error: Any, doing: str) -> AzdistillError:
    """A service answered, and it was no."""
    status = int(error.status_code or 0)
    code, words, hint = _STATUSES.get(min(status, 500), ("AZD409", "Azure refused", ""))
    if status == 403:
        hint = _role(error, doing)
    elif status == 429:
        hint = _wait(error)
    return ServiceError(f"{words} ({status}) while {doing}: {_message(error)}", code=code, hint=hint)


def _wait(error: Any) -> str:
    seconds = error.response.headers.get("Retry-After") if error.response is not None else None
    return f"it asks to wait {seconds} s" if seconds else "wait a little and try again"


def _role(error: Any, doing: str) -> str:
    request = getattr(error.response, "request", None)
    text = f"{error.message} {doing} {request.url if request else ''}"
    for mark, role in _ROLES:
        if mark.lower() in text.lower():
            return f"the role {role} permits it; a new assignment takes some minutes to count"
    return "ask an owner of the resource group for the role AzureML Data Scientist on the workspace"


def _message(error: Any) -> str:
    """The service's message, in one line, and its code."""
    body = getattr(error, "error", None)
    message = getattr(body, "message", None) or error.reason or error.message or ""
    code = getattr(body, "code", None)
    text = _line(str(message))
    return redact(f"{text} ({code})" if code and code not in text else text)


def _refused_by_sdk(error: BaseException, doing: str) -> AzdistillError:
    """azure-ai-ml refused by itself: what it was given is wrong, or is not there."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(getattr(error, "message", None) or error))
    # Most of what it formats is advice on other tools; the sentences after a cross are what is wrong.
    crosses = [sentence.strip() for sentence in re.findall(r"^\(x\)((?:.|\n(?=- ))+)", text, re.MULTILINE)]
    message = redact(_line("; ".join(crosses) or text))
    return UserError(f"azure-ai-ml refused while {doing}: {message}", code="AZD410")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(getattr(error, "message", None) or error).splitlines() if line.strip()]
    return redact(_line(lines[0] if lines else type(error).__name__))


def _line(text: str, limit: int = 400) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
