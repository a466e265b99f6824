"""ARM's JSON Schemas: every body sent to ARM is checked against the one for its api-version and resource.

The schemas (github.com/Azure/azure-resource-manager-schemas) describe resources in a deployment template, in draft 4.
So that they fit bodies sent to the REST API, three things are changed: ``additionalProperties: false`` in a member of
an ``allOf`` goes (draft 4 has no inheritance: a member would refuse what its siblings allow); the alternative "or a
template expression" goes (a body holds none, and a text in brackets would fit both); names are the last segment's.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

HOST = "https://schema.management.azure.com/schemas/"
EXPRESSION = f"{HOST}common/definitions.json#/definitions/expression"
PROVIDER = "Microsoft.MachineLearningServices"


class Schemas:
    """The schemas in a folder: ``<api-version>/Microsoft.MachineLearningServices.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = sorted(one.parent.name for one in folder.glob(f"*/{PROVIDER}.json"))
        common = _adapted(json.loads((folder / "common" / "definitions.json").read_text()))
        resource = Resource.from_contents(common, DRAFT4)
        self._registry: Registry[Any] = Registry().with_resource(f"{HOST}common/definitions.json", resource)
        self._validators: dict[tuple[str, str], Draft4Validator] = {}

    @classmethod
    def find(cls, shared: str | Path | None) -> Schemas | None:
        """The schemas in ``shared`` or ``$AZDISTILL_SHARED`` (default ``../shared``), or None."""
        root = Path(__file__).parents[2]
        folder = Path(shared or os.environ.get("AZDISTILL_SHARED") or root.parent / "shared") / "arm-schemas"
        return _opened(folder.resolve()) if folder.is_dir() else None

    def validator(self, definition: str, version: str) -> tuple[Draft4Validator, str] | None:
        """What checks a resource (``workspaces_jobs``) and the api-version that it is from.

        That is the version asked for; where it is not here (or does not know the resource), the oldest after it that
        does (versions seldom take away), else the newest before it. None where no version knows the resource.
        """
        newer = [one for one in self.versions if one >= version]
        for one in (*newer, *(earlier for earlier in self.versions[::-1] if earlier < version)):
            if definition in self._document(one)["resourceDefinitions"]:
                return self._validator(definition, one), one
        return None

    def _validator(self, definition: str, version: str) -> Draft4Validator:
        key = (definition, version)
        if key not in self._validators:
            url = f"{HOST}{version}/{PROVIDER}.json"
            registry = self._registry.with_resource(url, Resource.from_contents(self._document(version), DRAFT4))
            self._validators[key] = Draft4Validator(
                {"$ref": f"{url}#/resourceDefinitions/{definition}"}, registry=registry
            )
        return self._validators[key]

    @functools.lru_cache(maxsize=32)  # noqa: B019 (one object per folder and process, see _opened)
    def _document(self, version: str) -> dict[str, Any]:
        return _adapted(json.loads((self.folder / version / f"{PROVIDER}.json").read_text()))


@functools.cache
def _opened(folder: Path) -> Schemas:
    return Schemas(folder)


def _adapted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_adapted(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    alternatives = schema.get("oneOf")
    if isinstance(alternatives, list) and len(alternatives) > 1:
        kept = [one for one in alternatives if one.get("$ref") != EXPRESSION]
        schema = {**schema, "oneOf": kept}
    result = {name: _adapted(value) for name, value in schema.items()}
    for member in result.get("allOf", []) if isinstance(result.get("allOf"), list) else []:
        if member.get("additionalProperties") is False:
            del member["additionalProperties"]
    return result
