"""One worker of a parallel step: ``parallel_worker.py DESCRIPTOR ARGUMENTS ...``.

Imports the entry script (settings in AZDISTILL_PARALLEL) with the program's arguments as its own, calls ``init()``,
then answers requests, one JSON line each: how to split the input, or the result of ``run()`` on one mini-batch. Prints
of the script stay prints; answers go to the descriptor.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    settings = json.loads(os.environ["AZDISTILL_PARALLEL"])
    answers = os.fdopen(int(sys.argv[1]), "wb", buffering=0)
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]
    script = os.path.join(os.getcwd(), settings["entry_script"])
    for folder in (os.path.dirname(script), os.getcwd()):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    sys.argv = [script, *sys.argv[2:]]
    provide_entry_script()
    requests, sys.stdin = sys.stdin, open(os.devnull)  # noqa: SIM115 (the script's, to the end)
    module = load(script)
    if hasattr(module, "init"):
        module.init()
    source = Source(settings)
    for line in requests:
        answer = respond(module, source, json.loads(line))
        sys.stdout.flush()
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[answers.write(data) :]
    if hasattr(module, "shutdown"):
        module.shutdown()


def provide_entry_script() -> None:
    """The module ``azureml_user.parallel_run`` that a script finds on Azure: its ``EntryScript`` has a logger."""
    if importlib.util.find_spec("azureml_user"):
        return

    class EntryScript:
        """As far as Microsoft's pages on parallel jobs describe it."""

        logger = logging.getLogger("azureml_user.parallel_run")

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s|%(levelname)s|%(message)s"))
    EntryScript.logger.addHandler(handler)
    EntryScript.logger.setLevel(logging.INFO)
    EntryScript.logger.propagate = False
    inner, outer = ModuleType("azureml_user.parallel_run"), ModuleType("azureml_user")
    inner.EntryScript, outer.parallel_run = EntryScript, inner  # type: ignore[attr-defined]
    outer.__path__ = []
    sys.modules |= {"azureml_user": outer, "azureml_user.parallel_run": inner}


def load(script: str) -> ModuleType:
    name = os.path.splitext(os.path.basename(script))[0]
    found = importlib.util.spec_from_file_location(name, script)
    if found is None or found.loader is None:
        raise ImportError(f"{script} is no Python script")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def respond(module: ModuleType, source: Source, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if "split" in request:
            return {"batches": source.split()}
        batch = source.take(request["run"])
    except Exception as error:  # noqa: BLE001 (what is wrong with the data ends the step, whatever it is)
        traceback.print_exc()
        return {"error": str(error), "fatal": f"the input cannot be read: {error}"}
    try:
        context = SimpleNamespace(
            minibatch_index=request["index"], partition_key_value=request["run"].get("key", {}), dataset=None
        )
        result = module.run(batch, context) if takes_context(module.run) else module.run(batch)
        return rows_of(result)
    except Exception as error:  # noqa: BLE001 (a user's script; the driver decides what a failure means)
        traceback.print_exc()
        return {"error": f"run() raised {type(error).__name__}: {error}"}


def takes_context(run: Callable[..., Any]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds for one in inspect.signature(run).parameters.values()) > 1


def rows_of(result: Any) -> dict[str, Any]:
    """The lines that a result becomes, one for each item: of a table its values, with spaces between them."""
    if hasattr(result, "to_csv"):
        text = result.to_csv(sep=" ", header=False, index=False)
        # Not splitlines(): a value may hold what that takes for a line's end.
        return {"count": len(result), "lines": text.split("\n")[:-1]}
    if isinstance(result, (str, bytes)) or not hasattr(result, "__iter__"):
        raise TypeError(f"run() should give a list or a DataFrame, not {type(result).__name__}")
    lines = [str(item) for item in result]
    return {"count": len(lines), "lines": lines}


class Source:
    """What is split: the files of a folder, one file, or a table."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._path: str = settings["input"]
        self._table: Any = None
        self._partitions: list[tuple[Any, Any]] | None = None

    def split(self) -> list[dict[str, Any]]:
        """The mini-batches, each with its ``count`` of items."""
        if self._is_table():
            return self._split_table()
        if self._settings["partition_keys"]:
            raise ValueError("partition_keys need a table (an mltable that reads one)")
        files = self._files()
        size = self._settings["mini_batch_size"] or 10
        if self._settings["in_bytes"]:
            return [{"files": some, "count": len(some)} for some in by_bytes(files, size)]
        groups = [files[start : start + size] for start in range(0, len(files), size)]
        return [{"files": some, "count": len(some)} for some in groups]

    def take(self, batch: dict[str, Any]) -> Any:
        """A mini-batch as ``run()`` gets it: a list of paths, or a DataFrame."""
        if "files" in batch:
            return list(batch["files"])
        if "partition" in batch:
            return self._read_partitions()[batch["partition"]][1].reset_index(drop=True)
        table = self._read_table()
        return table.iloc[batch["start"] : batch["end"]].reset_index(drop=True)

    def _files(self) -> list[str]:
        if os.path.isfile(self._path):
            return [self._path]
        if self._settings["kind"] == "mltable":
            files: list[str] = self._mltable().files()
            return files
        walked = os.walk(self._path, followlinks=True)
        return sorted(os.path.join(folder, name) for folder, _, names in walked for name in names)

    def _is_table(self) -> bool:
        return self._settings["kind"] == "mltable" and bool(self._mltable().is_table)

    def _mltable(self) -> Any:
        sys.path.insert(0, HERE)
        try:
            table = importlib.import_module("parallel_table")
        finally:
            sys.path.remove(HERE)
        return table.MLTable(self._path)

    def _read_table(self) -> Any:
        if self._table is None:
            self._table = self._mltable().read()
        return self._table

    def _read_partitions(self) -> list[tuple[Any, Any]]:
        """Values of the keys and the rows that have them; rows without a value too. In every worker the same."""
        if self._partitions is None:
            keys = self._settings["partition_keys"]
            groups = self._read_table().groupby(list(keys), sort=True, dropna=False, observed=True)
            # Without iter() list() asks for its length first, which pandas cannot say where a key is null.
            self._partitions = list(iter(groups))
        return self._partitions

    def _split_table(self) -> list[dict[str, Any]]:
        table, keys = self._read_table(), self._settings["partition_keys"]
        if keys:
            missing = [key for key in keys if key not in table.columns]
            if missing:
                raise ValueError(f"the table has no column {', '.join(missing)} (partition_keys)")
            return [
                {"partition": number, "key": keyed(keys, value), "count": len(rows)}
                for number, (value, rows) in enumerate(self._read_partitions())
            ]
        size = self._settings["mini_batch_size"] or 1 << 20
        rows = size
        if self._settings["in_bytes"] or not self._settings["mini_batch_size"]:
            each = max(1, len(table.to_csv(index=False)) // max(1, len(table)))
            rows = max(1, size // each)
        ends = range(0, len(table), rows)
        return [{"start": at, "end": min(at + rows, len(table)), "count": min(rows, len(table) - at)} for at in ends]


def keyed(keys: list[str], value: Any) -> dict[str, str | None]:
    """The values of the keys as text; None where there is none."""
    is_null = importlib.import_module("pandas").isna
    values = value if isinstance(value, tuple) else (value,)
    return {key: None if is_null(values[number]) else str(values[number]) for number, key in enumerate(keys)}


def by_bytes(files: list[str], size: int) -> list[list[str]]:
    groups: list[list[str]] = []
    held = 0
    for file in files:
        bytes_of = os.path.getsize(file)
        if not groups or held + bytes_of > size:
            groups.append([])
            held = 0
        groups[-1].append(file)
        held += bytes_of
    return groups


if __name__ == "__main__":
    main()
