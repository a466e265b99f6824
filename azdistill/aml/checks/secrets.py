"""Secrets written where anybody can read them. No message holds the value; it is hidden from all output too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from azdistill.aml.checks.survey import Survey
from azdistill.aml.models import Literal
from azdistill.aml.source import Report, Where
from azdistill.errors import UserError
from azdistill.redact import register

#: Names whose value is a secret, whatever it looks like.
_NAMES = re.compile(
    r"(^|[_.-])(api_?key|(access|account|subscription|secret|auth|teacher|endpoint|storage|private|client|master)_?key"
    r"|password|passwd|passphrase|secret|credentials?|connection_?string|sas|sas_?token"
    r"|(api|auth|access|bearer|refresh|hf|github|secret|service|user)_?token|(?<![_.-])token)$",
    re.IGNORECASE,
)
#: Values that are a secret, whatever they are called.
_SHAPES = re.compile(
    # A run of letters and digits tells a key from words (sk-learn-is-a-package).
    r"\bsk-(?=[\w-]*[A-Za-z0-9]{16})[A-Za-z0-9_-]{20,}|\bAccountKey=[A-Za-z0-9+/=]{20,}|\bSharedAccessKey=[A-Za-z0-9+/=]{20,}"
    r"|[?&]sig=[A-Za-z0-9%+/=]{20,}|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}|\bhf_[A-Za-z0-9]{30,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<=://)[^/\s:@${}<>]+:[^/\s@${}<>]{3,}(?=@)|(?<=\bBearer )(?=\S*\d)[A-Za-z0-9._~+/=-]{16,}"
)
#: In a command: a variable that is set, and an option with its value.
_SET = re.compile(r"""(?<![\w./$-])(?P<name>[A-Za-z_]\w*)=(?P<value>'[^']*'|"[^"]*"|[^\s'";&|()]+)""")
_OPTION = re.compile(
    r"""(?<!\S)--?(?P<name>[A-Za-z][\w-]*)(?:=|\s+)(?P<value>'[^']*'|"[^"]*"|[^\s'";&|()-][^\s;&|]*)"""
)
#: Words that are no secret, what a shell or a person has yet to fill in, and files that a secret is kept in.
_WORDS = re.compile(
    r"true|false|none|null|yes|no|auto|\d+|.{0,3}|[*x.]+|.*[$`{<].*"
    r"|(\.\.?|~)/[\w./-]*|[\w./~-]+\.(json|pem|key|txt|ya?ml|crt|cer|pfx|env|ini|cfg|toml)",
    re.IGNORECASE | re.S,
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: What may stand where a secret is needed: a reference to it.
_REFERENCE = re.compile(
    r"\s*(\$\{\{.*\}\}|\$\{?(env|connection|keyvault):.*|(env|connection|keyvault):.+|entra)?\s*", re.S
)
#: A key and its value on one line.
_ENTRY = re.compile(
    r"""(?P<name>[\w.-]+)(?P<between>['"]?\s*:\s+)(?P<value>\$\{[^}]*\}+|'[^']*'|"[^"]*"|[^\s,{}'"][^,{}\n]*)"""
)
_HINT = "name where it is kept: env:NAME, connection:NAME or keyvault:VAULT/SECRET"


def literal_secrets(survey: Survey, report: Report) -> None:
    """AZD170."""
    for name, value, where in _named(survey):
        # One that has the shape of a secret is found below.
        if isinstance(value, str) and _names_secret(name) and not _REFERENCE.fullmatch(value) and not shaped(value):
            _found(report, f"'{name}' holds a literal secret", value, where)
    for component in survey.components:
        for name, value in in_command(component.command):
            _found(report, f"'{name}' in the command is a literal secret", value, component.place("command"), value)
    # What an input was given elsewhere (--set, a program) stands in no file.
    files = {id(source) for source in survey.sources}
    values = [declared.where for scope in survey.scopes if scope.is_job for declared in scope.inputs.values()]
    outside = [where for where in values if id(where.source) not in files]
    for start in [*(Where(source) for source in survey.sources), *outside]:
        for text, where in start.texts():
            for secret in shaped(text):
                _found(report, "this looks like a literal secret", secret, where, secret)


def shaped(text: str) -> list[str]:
    """The secrets in ``text`` that are known by their shape, whatever they are called."""
    return [match[0] for match in _SHAPES.finditer(text)]


def in_command(command: str) -> list[tuple[str, str]]:
    """Names and values of the secrets that a command sets or passes: ``API_KEY=...``, ``--password ...``."""
    assignments = [*_SET.finditer(command), *_OPTION.finditer(command)]
    pairs = [(each["name"], each["value"].strip("'\"")) for each in assignments if _names_secret(each["name"])]
    return [(n, v) for n, v in pairs if not (_WORDS.fullmatch(v) or _REFERENCE.fullmatch(v) or shaped(v))]


def _names_secret(name: str) -> bool:
    return bool(_NAMES.search(_HUMP.sub("_", name).replace("-", "_")))


def refuse(text: str, what: str) -> None:
    """Raise AZD170 where ``text`` holds a secret known by its shape; ``what`` says where it stands."""
    for secret in shaped(text):
        register(secret)
        raise UserError(f"{what}: this looks like a literal secret", code="AZD170", hint=_HINT)


def hidden(line: str) -> str:
    """A line of YAML without the secrets in it, as far as names and shapes tell them; its length is kept."""

    def mask(match: re.Match[str]) -> str:
        name, between, value = match["name"], match["between"], match["value"]
        secret = _names_secret(name) and not _REFERENCE.fullmatch(value.strip("'\""))
        return f"{name}{between}{'*' * len(value) if secret else value}"

    masked = _SHAPES.sub(lambda match: "*" * len(match[0]), _ENTRY.sub(mask, line))
    for _, value in in_command(line):
        masked = masked.replace(value, "*" * len(value))
    return masked


def _found(report: Report, message: str, value: str, where: Where, needle: str = "") -> None:
    register(value)
    report.error("AZD170", message, where, hint=_HINT, needle=needle)


def _named(survey: Survey) -> Iterator[tuple[str, Any, Where]]:
    """Everything with a name and a literal value."""
    for component in survey.interfaces():
        for name, declared in component.inputs.items():
            yield name, declared.default, declared.where_default
    for scope in survey.scopes:
        if scope.is_job:
            for name, declared in scope.inputs.items():
                yield name, declared.default, declared.where
    for _, step in survey.steps():
        for name, literal in step.inputs.items():
            if isinstance(literal, Literal):
                yield name, literal.value, literal.where
        for name, one in step.sweep.search_space.items() if step.sweep else ():
            yield from ((name, value, one.where / "values" / number) for number, value in enumerate(one.values))
        for name, text in step.environment_variables.items():
            yield name, text, step.where / "environment_variables" / name
    for where in [spec.where for spec in (*survey.interfaces(), *survey.scopes)] + [s.where for _, s in survey.steps()]:
        for key in ("tags", "properties"):
            table = (where / key).value
            for name, value in table.items() if isinstance(table, dict) else ():
                yield name, value, where / key / name
