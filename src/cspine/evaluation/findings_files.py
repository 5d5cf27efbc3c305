"""The findings files in a folder, links followed; what is not read is named."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from cspine.core.errors import LabelError
from cspine.core.findings import SCHEMA_VERSION, Findings
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.core.storage.remote_path import RemotePath

FINDINGS_FILE: Final = "findings.json"

_MAX_FINDINGS_BYTES: Final = 32 * 2**20
"""Size limit of a findings file; real ones take 100 kB."""

_FIELDS: Final = (b'"patient_overall"', b'"not_assessable"', b'"vertebrae"')
"""Fields of all findings, by which files of other names are recognized."""

_MAX_NAMED: Final = 3


@dataclass(frozen=True)
class FindingsFiles:
    """The findings in a folder.

    Attributes
    ----------
    paths : tuple of Path
        Their files, sorted.
    findings : tuple of Findings
        The findings in each of them.
    warnings : tuple of str
        What was passed over: links that lead nowhere, and files that may have been meant.
    """

    paths: tuple[Path, ...]
    findings: tuple[Findings, ...]
    warnings: tuple[str, ...]


def read_findings_files(path: Path) -> FindingsFiles:
    """Read all findings in a folder and the folders below it, or those in one file.

    Links to files and to folders are followed; what two links lead to is read once. In a folder without a file of the
    name ``findings.json``, files of other names are read as well, if they hold findings: links to findings often bear
    the name of the study.

    Parameters
    ----------
    path : Path
        A folder, or a findings file.

    Raises
    ------
    LabelError
        There are no findings, a folder or a file cannot be read, or a file holds no findings or those of another
        version; every such file is counted, and the first are named.
    """
    if not path.is_dir():
        return FindingsFiles((path,), (load_findings(path),), ())
    warnings: list[str] = []
    paths = sorted(_findings_paths(path, warnings))
    if not paths:
        raise LabelError(f"{path}: holds no {FINDINGS_FILE}; give the folder that cspine predict wrote")
    findings, errors = [], []
    with READ_AHEAD.reading(paths):
        for each in paths:
            try:
                findings.append(load_findings(each))
            except LabelError as error:
                errors.append(str(error))
    if len(errors) == 1:
        raise LabelError(errors[0])
    if errors:
        first = "; ".join(errors[:_MAX_NAMED])
        raise LabelError(f"{path}: {len(errors)} of {len(paths)} findings files cannot be used (first: {first})")
    return FindingsFiles(tuple(paths), tuple(findings), tuple(warnings))


def holds_findings(path: Path) -> bool:
    """Return whether a path is a findings file, or a folder with findings in it or below."""
    return next(_findings_paths(path, []), None) is not None if path.is_dir() else bool(_holds_findings(path))


def load_findings(path: Path) -> Findings:
    """Return the findings in a file; raises LabelError where it holds none, or those of another version."""
    try:
        if path.stat().st_size > _MAX_FINDINGS_BYTES:
            raise LabelError(f"{path}: is too large for findings; give what cspine predict wrote")
        return Findings.model_validate_json(READ_AHEAD.read_bytes(path))
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        if where == "schema_version":
            raise LabelError(
                f"{path}: was written by cspine 0.1 or another version, not in schema {SCHEMA_VERSION}; predict again"
            ) from error
        raise LabelError(f"{path}: holds no findings ({where}: {first['msg']}); predict again") from error


def _findings_paths(folder: Path, warnings: list[str]) -> Iterator[Path]:
    """Yield the findings files below a folder, each once; in a store, those of this name."""
    if isinstance(folder, RemotePath):
        yield from (path for _, path in folder.walk_objects() if path.name == FINDINGS_FILE)
        return
    read: set[str] = set()
    dangling, damaged = [], []
    for parent, names in _walk(folder):
        is_named = FINDINGS_FILE in names
        for each in (parent / name for name in names):
            real = os.path.realpath(each)
            if each.name != FINDINGS_FILE and not each.exists():
                dangling.append(each)
            if real in read or (is_named and each.name != FINDINGS_FILE):
                continue
            is_findings = FINDINGS_FILE in (each.name, Path(real).name) or _holds_findings(each)
            if is_findings:
                read.add(real)
                yield each
            elif is_findings is None:
                damaged.append(each)
    for paths, fact in (
        (dangling, "links in the folder of findings lead nowhere; restore what they lead to"),
        (damaged, "files in the folder of findings are incomplete JSON; predict again if they held findings"),
    ):
        if paths:
            warnings.append(f"{len(paths)} {fact} (first: {', '.join(map(str, paths[:_MAX_NAMED]))})")


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the sorted names of its files; links to folders are followed, and no folder twice."""
    visited = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(Path(parent) / name)
            if real not in visited:
                visited.add(real)
                kept.append(name)
        folders[:] = kept
        yield Path(parent), sorted(name for name in files if not name.startswith("."))


def _refuse_folder(error: OSError) -> None:
    raise LabelError(
        f"{error.filename}: cannot be read ({error.strerror}), and may hold findings; check its permissions"
    ) from error


def _holds_findings(path: Path) -> bool | None:
    """Return whether a file of another name holds findings; None where it is JSON that breaks off."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        if path.stat().st_size > _MAX_FINDINGS_BYTES:
            return False
        content = path.read_bytes()
    except OSError:
        return None
    if all(field in content for field in _FIELDS):
        return True
    return False if content.rstrip().endswith((b"}", b"]")) else None
