"""DICOMDIR: the files that a medium's directory lists (PS3.3, annex F)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cspine.core.errors import DicomError, SourceError
from cspine.core.text import sanitize_text
from cspine.dicom.codec.dataset import parse
from cspine.dicom.sources import SourceFile

MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""SOP class UID of a DICOMDIR (Media Storage Directory Storage)."""


def is_dicomdir(file: SourceFile) -> bool:
    """Return whether a file is a DICOMDIR, by its SOP class and not by its name."""
    return MEDIA_DIRECTORY.encode() in file.read(1024)


def list_referenced_files(file: SourceFile) -> list[SourceFile]:
    """List the files that a DICOMDIR on disk references.

    Parameters
    ----------
    file : SourceFile
        The DICOMDIR; the files that it references lie below its folder.

    Returns
    -------
    list of SourceFile
        At least one; files that are missing have size 0.

    Raises
    ------
    DicomError
        The DICOMDIR is damaged, or references files outside its folder.
    SourceError
        It references no files.
    """
    if file.member is not None:  # pragma: no cover - all members of a zip are read, with or without a DICOMDIR
        raise SourceError(f"{file.name}: is a DICOMDIR in a zip; give the zip")
    folder = file.container.parent
    try:
        paths = dict.fromkeys(_read_file_ids(file))
    except DicomError:
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        raise DicomError(f"{file.name}: its directory cannot be read; give the folder that holds the images") from error
    if not paths:
        raise SourceError(f"{file.name}: lists no files; give the folder that holds the images")
    return [_source(folder, parts) for parts in paths]


def _read_file_ids(file: SourceFile) -> Iterator[tuple[str, ...]]:
    dataset = parse(file, file.read())
    for record in dataset.get("DirectoryRecordSequence") or ():
        name = record.get("ReferencedFileID")
        if not name:
            continue
        parts = (name,) if isinstance(name, str) else tuple(str(part) for part in name)
        if any(part in {"", ".", ".."} or "/" in part or "\\" in part or ":" in part or "\0" in part for part in parts):
            raise DicomError(f"{file.name}: names a file outside its folder; do not trust this medium")
        yield parts


def _source(folder: Path, parts: tuple[str, ...]) -> SourceFile:
    """Find a referenced file, also in lower case or moved up by some folders: media are often copied that way."""
    name = sanitize_text("/".join(parts))
    for start in range(len(parts)):
        for relative in (Path(*parts[start:]), Path(*(part.lower() for part in parts[start:]))):
            path = folder / relative
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return SourceFile(path, None, name, path.stat().st_size)
    return SourceFile(folder.joinpath(*parts), None, name, 0)
