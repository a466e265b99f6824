"""One worker of a parallel step: ``parallel_worker.py DESCRIPTOR ARGUMENTS ...``.

Imports the entry script (settings in AZDISTILL_PARALLEL) with the program's arguments as its own, calls ``init()``,
then answers requests, one JSON line each: how to split the input, or the result of ``run()`` on one mini-batch. Prints
of the script stay prints; answers go to the descriptor.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import inspect
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
READERS = ("read_delimited", "read_parquet", "read_json_lines")
TRANSFORMATIONS = (*READERS, "keep_columns", "drop_columns", "extract_columns_from_partition_format")
ENCODINGS = {"utf8": "utf-8", "iso88591": "iso-8859-1", "latin1": "latin-1", "ascii": "ascii", "utf16": "utf-16"}


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
    module, package = ModuleType("azureml_user.parallel_run"), ModuleType("azureml_user")
    module.EntryScript, package.parallel_run = EntryScript, module  # type: ignore[attr-defined]
    package.__path__ = []
    sys.modules |= {"azureml_user": package, "azureml_user.parallel_run": module}


def load(script: str) -> ModuleType:
    name = os.path.splitext(os.path.basename(script))[0]
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} is no Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
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
        groups = [files[start : start + size] for start in range(0, len(files), size)]
        if self._settings["in_bytes"]:
            groups = by_bytes(files, size)
        return [{"files": group, "count": len(group)} for group in groups]

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
            return MLTable(self._path).files()
        walked = os.walk(self._path, followlinks=True)
        return sorted(os.path.join(folder, name) for folder, _, names in walked for name in names)

    def _is_table(self) -> bool:
        return self._settings["kind"] == "mltable" and MLTable(self._path).is_table

    def _read_table(self) -> Any:
        if self._table is None:
            self._table = MLTable(self._path).read()
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
            bytes_of_row = max(1, len(table.to_csv(index=False)) // max(1, len(table)))
            rows = max(1, size // bytes_of_row)
        ends = range(0, len(table), rows)
        return [{"start": at, "end": min(at + rows, len(table)), "count": min(rows, len(table) - at)} for at in ends]


def keyed(keys: list[str], value: Any) -> dict[str, str | None]:
    """The values of the keys as text; None where there is none."""
    is_null = importlib.import_module("pandas").isna
    values = value if isinstance(value, tuple) else (value,)
    return {key: None if is_null(values[number]) else str(values[number]) for number, key in enumerate(keys)}


def by_bytes(files: list[str], size: int) -> list[list[str]]:
    groups: list[list[str]] = []
    filled = 0
    for file in files:
        bytes_of = os.path.getsize(file)
        if not groups or filled + bytes_of > size:
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += bytes_of
    return groups


class MLTable:
    """The table, or the files, that the folder of a ``MLTable`` file stands for: YAML with ``paths`` (file, folder or
    pattern) and ``transformations``. Where the package ``mltable`` is installed it reads the table; else pandas does,
    for the transformations that are named here.
    """

    def __init__(self, folder: str) -> None:
        import yaml

        self.folder = folder
        path = folder if os.path.isfile(folder) else os.path.join(folder, "MLTable")
        if not os.path.isfile(path):
            raise ValueError(f"there is no file MLTable in {folder}")
        with open(path, encoding="utf-8") as file:
            document = yaml.safe_load(file) or {}
        self._paths = document.get("paths") or []
        #: Names of transformations and their arguments.
        self._steps: list[tuple[str, Any]] = []
        for step in document.get("transformations") or []:
            self._steps += step.items() if isinstance(step, dict) else [(step, None)]
        self._base = os.path.dirname(path)

    @property
    def is_table(self) -> bool:
        """Whether something reads the files as rows."""
        return any(name in READERS for name, _ in self._steps)

    def files(self) -> list[str]:
        """The files it names, in order."""
        files: list[str] = []
        for source in self._paths:
            kind, address = next((kind, str(address)) for kind, address in source.items())
            if "://" in address and not address.startswith("file://"):
                raise ValueError(f"{address} is not on this machine")
            path = os.path.join(self._base, address.replace("file://", ""))
            if kind == "folder":
                files += [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
            elif kind == "pattern":
                files += [file for file in glob.glob(path, recursive=True) if os.path.isfile(file)]
            else:
                files.append(path)
        return sorted(dict.fromkeys(files))

    def read(self) -> Any:
        """The table as a DataFrame."""
        unknown = [name for name, _ in self._steps if name not in TRANSFORMATIONS]
        if unknown:
            return self._with_mltable(unknown)
        pandas = importlib.import_module("pandas")
        parts = [self._read(pandas, file) for file in self.files()]
        table = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
        for name, arguments in self._steps:
            columns = [arguments] if isinstance(arguments, str) else arguments
            if name == "keep_columns":
                table = table[columns]
            elif name == "drop_columns":
                table = table.drop(columns=columns)
        return table

    def _with_mltable(self, unknown: list[str]) -> Any:
        try:
            mltable = importlib.import_module("mltable")
        except ImportError:
            names = ", ".join(unknown)
            raise ValueError(f"the transformation {names} needs the package mltable: pip install mltable") from None
        return mltable.load(self._base).to_pandas_dataframe()

    def _read(self, pandas: Any, file: str) -> Any:
        table: Any = None
        for name, arguments in self._steps:
            arguments = arguments or {}
            if name == "read_delimited":
                table = self._delimited(pandas, file, arguments)
            elif name == "read_parquet":
                table = pandas.read_parquet(file)
            elif name == "read_json_lines":
                table = pandas.read_json(file, lines=True)
            if name in READERS and arguments.get("include_path_column"):
                table.insert(0, "Path", file)
            if name == "extract_columns_from_partition_format":
                for column, text in self._columns(file, arguments["partition_format"]).items():
                    table[column] = text
        return table

    def _delimited(self, pandas: Any, file: str, arguments: dict[str, Any]) -> Any:
        encoding = ENCODINGS.get(str(arguments.get("encoding", "utf8")).lower(), arguments.get("encoding"))
        header = None if arguments.get("header") == "no_header" else 0
        return pandas.read_csv(file, sep=arguments.get("delimiter", ","), header=header, encoding=encoding)

    def _columns(self, file: str, partition_format: str) -> dict[str, str]:
        """The values of a path's parts: ``/{Store}/{Brand}/*.parquet`` names them."""
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(partition_format).replace(r"\*", "[^/]*"))
        match = re.search(pattern + "$", file) or re.search(pattern, file)
        if not match:
            raise ValueError(f"{file} does not fit the partition format {partition_format}")
        return match.groupdict()


if __name__ == "__main__":
    main()
