"""The manifest of an imported data set: which studies it has, and where their images lie."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.columns import STUDY
from cspine.core.errors import LabelError
from cspine.core.files import read_json, write_text

IMPORT_MARKER: Final = "imported.json"
"""File by which an imported data set is recognized."""

MANIFEST_FILE: Final = "manifest.csv"

PATIENT: Final = "patient"
PATH: Final = "path"


@dataclass(frozen=True)
class ManifestEntry:
    """One study of an imported data set.

    Attributes
    ----------
    study : str
        StudyInstanceUID, or the name that stands for it.
    images : Path
        File or folder of its images.
    patient : str
        Pseudonym of the patient.
    """

    study: str
    images: Path
    patient: str


def is_imported(folder: Path) -> bool:
    """Return whether a folder is an imported data set."""
    return (folder / IMPORT_MARKER).is_file()


def knows_cut_vertebrae(folder: Path) -> bool:
    """Return whether masks of a data set hold vertebrae that the border of a scan cuts off; True if not imported.

    Parameters
    ----------
    folder : Path
        Root of the data set.

    Raises
    ------
    InputError
        Its marker cannot be read.
    """
    if not is_imported(folder):
        return True
    return bool(read_json(folder / IMPORT_MARKER)["data_source"]["cut_vertebrae"] == "labeled")


def read_manifest(folder: Path) -> tuple[ManifestEntry, ...]:
    """Return the studies of an imported data set.

    Parameters
    ----------
    folder : Path
        Root of the data set.

    Raises
    ------
    LabelError
        The data set is not finished, or its manifest was damaged.
    InputError
        Its marker cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise LabelError(f"{folder}: is not finished; run the same `cspine import` again")
    marker = read_json(folder / IMPORT_MARKER)
    try:
        root = folder / str(marker["images_root"])
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return tuple(ManifestEntry(row[STUDY], root / row[PATH], row[PATIENT]) for row in rows)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise LabelError(f"{path}: is no manifest of cspine import ({type(error).__name__}); import again") from error


def write_manifest(folder: Path, rows: Iterable[Mapping[str, object]], columns: list[str]) -> None:
    """Write the manifest of an imported data set, sorted by study.

    Parameters
    ----------
    folder : Path
        Root of the data set.
    rows : iterable of mapping
        Column to value; values are written as text.
    columns : list of str
        The columns, in order.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: str(row[STUDY])))
    write_text(folder / MANIFEST_FILE, stream.getvalue())
