"""The part of the MLTable format that a parallel step's input needs: which files, and how they are read as one table.

A ``MLTable`` file is YAML: ``paths`` (file, folder or pattern) and ``transformations``. Where the package ``mltable``
is installed it reads the table; else pandas does, for the transformations that are named here.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
from typing import Any

READERS = ("read_delimited", "read_parquet", "read_json_lines")
_KNOWN = (*READERS, "keep_columns", "drop_columns", "extract_columns_from_partition_format")
_ENCODINGS = {"utf8": "utf-8", "iso88591": "iso-8859-1", "latin1": "latin-1", "ascii": "ascii", "utf16": "utf-16"}


class MLTable:
    """The table, or the files, that the folder of a ``MLTable`` file stands for."""

    def __init__(self, folder: str) -> None:
        import yaml

        self.folder = folder
        path = folder if os.path.isfile(folder) else os.path.join(folder, "MLTable")
        if not os.path.isfile(path):
            raise ValueError(f"there is no file MLTable in {folder}")
        with open(path, encoding="utf-8") as file:
            written = yaml.safe_load(file) or {}
        self._paths = written.get("paths") or []
        self._steps = [one if isinstance(one, dict) else {one: None} for one in written.get("transformations") or []]
        self._base = os.path.dirname(path)

    @property
    def is_table(self) -> bool:
        """Whether something reads the files as rows."""
        return any(name in READERS for step in self._steps for name in step)

    def files(self) -> list[str]:
        """The files it names, in order."""
        found: list[str] = []
        for entry in self._paths:
            kind, written = next(iter(entry.items()))
            if "://" in str(written) and not str(written).startswith("file://"):
                raise ValueError(f"{written} is not on this machine")
            path = os.path.join(self._base, str(written).replace("file://", ""))
            if kind == "folder":
                found += [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
            elif kind == "pattern":
                found += [one for one in glob.glob(path, recursive=True) if os.path.isfile(one)]
            else:
                found.append(path)
        return sorted(dict.fromkeys(found))

    def read(self) -> Any:
        """The table as a DataFrame."""
        unknown = [name for step in self._steps for name in step if name not in _KNOWN]
        if unknown:
            return self._with_mltable(unknown)
        pandas = importlib.import_module("pandas")
        parts = [self._read(pandas, file) for file in self.files()]
        table = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
        for step in self._steps:
            for name, given in step.items():
                columns = [given] if isinstance(given, str) else given
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
        for step in self._steps:
            for name, given in step.items():
                given = given or {}
                if name == "read_delimited":
                    table = self._delimited(pandas, file, given)
                elif name == "read_parquet":
                    table = pandas.read_parquet(file)
                elif name == "read_json_lines":
                    table = pandas.read_json(file, lines=True)
                if name in READERS and given.get("include_path_column"):
                    table.insert(0, "Path", file)
                if name == "extract_columns_from_partition_format":
                    for column, value in self._columns(file, given["partition_format"]).items():
                        table[column] = value
        return table

    def _delimited(self, pandas: Any, file: str, given: dict[str, Any]) -> Any:
        encoding = _ENCODINGS.get(str(given.get("encoding", "utf8")).lower(), given.get("encoding"))
        header = None if given.get("header") == "no_header" else 0
        return pandas.read_csv(file, sep=given.get("delimiter", ","), header=header, encoding=encoding)

    def _columns(self, file: str, written: str) -> dict[str, str]:
        """The values of a path's parts: ``/{Store}/{Brand}/*.parquet`` names them."""
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(written).replace(r"\*", "[^/]*"))
        found = re.search(pattern + "$", file) or re.search(pattern, file)
        if not found:
            raise ValueError(f"{file} does not fit the partition format {written}")
        return found.groupdict()
