"""What runs on a laptop and cannot run in a job: keys in variables, addresses and paths of this machine."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azdistill.aml.checks.survey import survey
from azdistill.aml.models import Literal, Pipeline
from azdistill.aml.source import Report, Where
from azdistill.cloud.workspace.clouds import METADATA_URL
from azdistill.errors import Problem

_ENV = re.compile(r"\s*(?:\$\{)?env:([A-Za-z_]\w*)\}?\s*")
_KEY_HINT = (
    "keep the key in a workspace connection (`az ml connection create`, type: api_key) and write "
    "connection:NAME, or in a Key Vault and write keyvault:VAULT/SECRET, or write entra where the endpoint takes it"
)


def refused(pipeline: Pipeline) -> list[Problem]:
    """Everything that a job could not resolve or reach, each at its place."""
    report = Report()
    reachable = is_on_loopback(os.environ.get(METADATA_URL, ""))
    for name, value, where in _literals(pipeline):
        if not isinstance(value, str):
            continue
        if found := _ENV.fullmatch(value):
            message = f"'{name}' is kept in the variable {found[1]} of this machine, which a job does not have"
            report.error("AZD415", message, where, hint=_KEY_HINT)
        elif not reachable and is_on_loopback(value):
            message = f"'{name}' is {value}: in a job that is the node itself, not this machine"
            report.error("AZD416", message, where, hint="give an address that the workspace's compute can reach")
        elif _is_path_here(value):
            message = f"'{name}' is {value}, a path of this machine; as text it is not uploaded"
            report.error("AZD417", message, where, hint="give it as data: {type: uri_folder, path: ...}")
    return report.problems


def is_on_loopback(text: str) -> bool:
    """Whether ``text`` is an address on this very machine."""
    if not re.match(r"https?://", text, re.IGNORECASE):
        return False
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_path_here(value: str) -> bool:
    return value.startswith(("/", "~/")) and "\n" not in value and Path(value).expanduser().exists()


def _literals(pipeline: Pipeline) -> Iterator[tuple[str, Any, Where]]:
    """Every value that reaches a step as text."""
    for name, declared in pipeline.inputs.items():
        if not declared.is_data:
            yield name, declared.default, declared.where
    found = survey(pipeline)
    for component in found.interfaces():
        for name, declared in component.inputs.items():
            if not declared.is_data:
                yield name, declared.default, declared.where_default
    for _, step in found.steps():
        for name, value in step.inputs.items():
            if isinstance(value, Literal):
                yield f"{step.name}.{name}", value.value, value.where
        for name, text in step.environment_variables.items():
            yield f"{step.name}.{name}", text, step.where / "environment_variables" / name
