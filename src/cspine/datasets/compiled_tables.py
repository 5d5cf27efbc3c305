"""The records of a compiled data set, and its tables, which are written from them in bounded memory."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError
from cspine.core.files import atomic_path, complete_files
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.core.text import sanitize_text

RECORDS_FOLDER: Final = "records"
STUDIES_FILE: Final = "studies.parquet"
LEVELS_FILE: Final = "levels.parquet"
MANIFEST_FILE: Final = "manifest.parquet"

Record = dict[str, Any]
"""Outcome of one study; its ``images`` and ``levels`` are rows of the tables."""

_CHUNK: Final = 1_000
"""Studies whose rows are in memory at a time, and in one row group of a table."""

_ROWS: Final = re.compile(rb',\s*"(?:images|levels)":\s*\[')
"""Where the rows begin in the JSON of a record; within a string, quotes would be escaped."""

_COMMON: Final = ("study_instance_uid", "series_instance_uid", "patient")
_TEXT, _NUMBERS = pa.large_string(), pa.list_(pa.float64())

_IMAGE_SCHEMA: Final = pa.schema(
    [
        *((name, _TEXT) for name in _COMMON),
        ("image", pa.int64()),
        ("path", _TEXT),
        *((name, pa.float64()) for name in ("x_lps_mm", "offset_mm", "top_z_mm", "front_y_mm", "pixel_mm")),
        ("bytes", pa.int64()),
        *((target, pa.int8()) for target in TARGETS),
    ]
)

_LEVEL_SCHEMA: Final = pa.schema(
    [
        *((name, _TEXT) for name in (*_COMMON, "level", "path", "cells_path")),
        ("scanned_fraction", pa.float64()),
        ("confidence", pa.float64()),
        ("image_quality_problems", _TEXT),
        ("centroid_lps_mm", _NUMBERS),
        ("fracture_types", _TEXT),
        ("box_lps", _NUMBERS),
        ("bridged_gaps", _NUMBERS),
        ("bytes", pa.int64()),
        *((target, pa.int8()) for target in TARGETS),
    ]
)

_PARTS: Final = {"levels": _LEVEL_SCHEMA, "images": _IMAGE_SCHEMA}
_DIGEST: Final = "cspine_records"


@dataclass(frozen=True)
class RecordHeads:
    """What is known of studies that are done, without the rows of their images.

    Attributes
    ----------
    records : dict of str to dict
        Key of each study to its record without rows.
    digest : str
        Hash of the records and labels, by which tables that are written from just these are recognized.
    """

    records: Mapping[str, Record]
    digest: str


def record_paths(folder: Path) -> dict[str, Path]:
    """Return the path of each study's record by its key, sorted, by one listing of the folder."""
    return {path.stem: path for path in complete_files(folder / RECORDS_FOLDER, "*.json")}


def read_heads(folder: Path, labels: pd.DataFrame | None, keys: Collection[str] | None = None) -> RecordHeads:
    """Read the records of a data set but for their rows.

    Parameters
    ----------
    folder : Path
        Root folder of the data set.
    labels : DataFrame or None
        As of `write_tables`.
    keys : collection of str, optional
        Studies whose records are read; all where omitted.

    Raises
    ------
    InputError
        A record is damaged.
    """
    paths, digest = record_paths(folder), _new_digest(labels)
    records: dict[str, Record] = {}
    wanted = paths.keys() if keys is None else set(keys)
    chosen = {key: path for key, path in paths.items() if key in wanted}
    with READ_AHEAD.reading(chosen.values()):
        for key, path in chosen.items():
            data = _read(path, digest)
            rows = _ROWS.search(data)
            try:
                record: Record = json.loads(data[: rows.start()] + b"}" if rows else data)
            except ValueError:
                record = _parse(path, data)
            records[key] = {name: value for name, value in record.items() if name not in _PARTS}
    return RecordHeads(records, digest.hexdigest())


def are_tables_of(folder: Path, digest: str) -> bool:
    """Return whether the tables were written from the records and labels that have a hash."""
    try:
        with (folder / MANIFEST_FILE).open("rb") as file:
            metadata = pq.read_metadata(file).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return bool(metadata.get(_DIGEST.encode()) == digest.encode())


def write_tables(folder: Path, labels: pd.DataFrame | None, metadata: Mapping[str, str]) -> None:
    """Write the three tables of a data set from its records.

    Rows are written in groups of 1,000 studies, so that memory holds the rows of no more; ``manifest.parquet`` is moved
    into place last.

    Parameters
    ----------
    folder : Path
        Root folder of the data set.
    labels : DataFrame or None
        Labels, indexed by StudyInstanceUID, columns `TARGETS`.
    metadata : mapping of str to str
        Metadata of each table.

    Raises
    ------
    InputError
        A record is damaged.
    DiskFullError, OutputError
        A table cannot be written.
    """
    digest, label_of = _new_digest(labels), _label_tuples(labels)
    columns: dict[str, list[Any]] = {}
    n_studies = 0
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        for name, part in ((MANIFEST_FILE, "images"), (LEVELS_FILE, "levels")):
            file = stack.enter_context(stack.enter_context(atomic_path(folder / name)).open("wb"))
            further: dict[Any, Any] = {**_pandas_metadata(_PARTS[part]), **metadata}  # keys are bytes or text
            schema = _PARTS[part].with_metadata(further)
            writers[part] = stack.enter_context(pq.ParquetWriter(file, schema))
        for records in _chunks(list(record_paths(folder).values()), digest):
            for part, writer in writers.items():
                writer.write_table(_rows(records, part, label_of).cast(writer.schema))
            _append(columns, records, n_studies)
            n_studies += len(records)
        _write_studies(folder, columns, labels, metadata)
        writers["images"].add_key_value_metadata({_DIGEST: digest.hexdigest()})


def _chunks(paths: Sequence[Path], digest: "hashlib._Hash") -> Iterator[list[Record]]:
    with READ_AHEAD.reading(paths):
        for start in range(0, max(len(paths), 1), _CHUNK):
            yield [_parse(path, _read(path, digest)) for path in paths[start : start + _CHUNK]]


def _rows(records: Sequence[Record], part: str, label_of: Mapping[str, tuple[int | None, ...]]) -> pa.Table:
    """Return a table of the rows that the records have of one part."""
    schema = _PARTS[part]
    names = [name for name in schema.names if name not in _COMMON and name not in TARGETS]
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    unlabeled = (None,) * len(TARGETS)
    for record in records:
        rows = record.get(part, ())
        for name in _COMMON:
            columns[name].extend(repeat(record[name], len(rows)))
        for target, value in zip(TARGETS, label_of.get(record["study_instance_uid"], unlabeled), strict=True):
            columns[target].extend(repeat(value, len(rows)))
        for name in names:
            columns[name].extend([row.get(name) for row in rows])
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _append(columns: dict[str, list[Any]], records: Sequence[Record], n_before: int) -> None:
    """Append the records without their rows to columns, of which a later record may bring further ones."""
    for number, record in enumerate(records, start=n_before):
        for name, value in record.items():
            if name not in _PARTS:
                column = columns.setdefault(name, [])
                column.extend(repeat(None, number - len(column)))
                column.append(sanitize_text(value) if isinstance(value, str) else value)
    for column in columns.values():
        column.extend(repeat(None, n_before + len(records) - len(column)))


def _write_studies(
    folder: Path, columns: dict[str, list[Any]], labels: pd.DataFrame | None, metadata: Mapping[str, str]
) -> None:
    table = pd.DataFrame(columns)
    for target in TARGETS if "study_instance_uid" in columns else ():
        known = labels[target] if labels is not None else pd.Series(dtype="Int8")
        table[target] = table["study_instance_uid"].map(known).astype("Int8")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **metadata})
    with atomic_path(folder / STUDIES_FILE) as part, part.open("wb") as file:
        pq.write_table(arrow, file)  # pyarrow takes names in UTF-8 only


def _pandas_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """Return the metadata by which pandas reads labels as nullable integers."""
    kinds = {pa.int8(): "Int8", pa.int64(): "int64", pa.float64(): "float64", _TEXT: "str"}
    columns: dict[str, Any] = {field.name: pd.Series(dtype=kinds.get(field.type, "object")) for field in schema}
    empty = pd.DataFrame(columns)
    metadata: dict[bytes, bytes] | None = pa.Table.from_pandas(empty, schema, preserve_index=False).schema.metadata
    return metadata or {}


def _label_tuples(labels: pd.DataFrame | None) -> dict[str, tuple[int | None, ...]]:
    if labels is None:
        return {}
    rows = labels[list(TARGETS)].astype("Int8").astype(object)
    rows = rows.where(rows.notna(), None)
    return {str(uid): tuple(row) for uid, row in zip(rows.index, rows.to_numpy().tolist(), strict=True)}


def _new_digest(labels: pd.DataFrame | None) -> "hashlib._Hash":
    return hashlib.sha256(repr(sorted(_label_tuples(labels).items())).encode())


def _read(path: Path, digest: "hashlib._Hash") -> bytes:
    try:
        data = READ_AHEAD.read_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    digest.update(path.name.encode("utf-8", "surrogatepass"))
    digest.update(data)
    return data


def _parse(path: Path, data: bytes) -> Record:
    try:
        record: Record = json.loads(data)
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error}); delete it and compile its study again") from error
    return record
