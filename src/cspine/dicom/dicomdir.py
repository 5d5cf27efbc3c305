"""DICOMDIR: the files that a medium's directory lists (PS3.3, annex F)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cspine.core.errors import DicomError, SourceError
from cspine.core.text import sanitize_text
from cspine.dicom.codec.dataset import parse
from cspine.dicom.files.listing import list_folder
from cspine.dicom.sources import SourceFile, UnreadableFile

MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""SOP class UID of a DICOMDIR (Media Storage Directory Storage)."""

_COPY_ENDING: Final = re.compile(r"(;\d+|\.|\.dcm)+$")
"""What copies of a medium add to names: ISO 9660's version, a dot, the ending of DICOM files."""

_Key = tuple[str, ...]
_File = TypeVar("_File")


@dataclass(frozen=True)
class Reference:
    """A file that a DICOMDIR lists.

    Attributes
    ----------
    parts : tuple of str
        Folders and name, relative to the DICOMDIR.
    is_image : bool
        Whether it holds an image, and not a report or a presentation state.
    """

    parts: tuple[str, ...]
    is_image: bool


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
        At least one; an `UnreadableFile` for each that is missing.

    Raises
    ------
    DicomError
        The DICOMDIR is damaged, or references files outside its folder.
    SourceError
        It references no files.
    """
    if file.member is not None:  # pragma: no cover - all members of an archive are read, with or without a DICOMDIR
        raise SourceError(f"{file.name}: is a DICOMDIR in an archive; give the archive")
    references = read_references(file)
    folder = file.container.parent
    files = [_exact(folder, reference) for reference in references]
    if None in files:
        index = _index((each.name, each) for each in list_folder(folder))
        files = [each or _find(index, reference) for each, reference in zip(files, references, strict=True)]
    return [
        each or _missing(file, reference, sanitize_text("/".join(reference.parts)))
        for each, reference in zip(files, references, strict=True)
    ]


def find_missing(file: SourceFile, names: Sequence[str]) -> list[UnreadableFile]:
    """Return the files that a DICOMDIR lists and that are not there.

    Parameters
    ----------
    file : SourceFile
        The DICOMDIR, in a folder or in an archive.
    names : sequence of str
        Names of all files of the same source.

    Returns
    -------
    list of UnreadableFile
        Also the DICOMDIR itself, where it lists more images than there are files, and none by its name.
    """
    folder = file.name[: file.name.rfind("/") + 1]
    below = [name for name in names if name.startswith(folder) and name != file.name]
    references = read_references(file)
    index = _index((name[len(folder) :], name) for name in below)
    missing = [reference for reference in references if _find(index, reference) is None]
    if len(missing) < len(references):
        return [_missing(file, each, sanitize_text(folder + "/".join(each.parts))) for each in missing]
    n_images = sum(reference.is_image for reference in references)
    if n_images <= len(below):
        return []  # the files of the medium were renamed
    problem = f"lists {n_images} images, of which none is there by its name; copy the medium again"
    return [UnreadableFile(file.container, file.member, file.name, 0, problem=problem, is_lost=True)]


def read_references(file: SourceFile) -> list[Reference]:
    """Read the files that a DICOMDIR lists, each once; raises as `list_referenced_files` does."""
    try:
        references = list(dict.fromkeys(_read_records(file)))
    except (DicomError, SourceError):
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        raise DicomError(f"{file.name}: its directory cannot be read; give the folder that holds the images") from error
    if not references:
        raise SourceError(f"{file.name}: lists no files; give the folder that holds the images")
    return references


def _read_records(file: SourceFile) -> Iterator[Reference]:
    dataset = parse(file, file.read())
    for record in dataset.get("DirectoryRecordSequence") or ():
        name = record.get("ReferencedFileID")
        if not name:
            continue
        parts = (name,) if isinstance(name, str) else tuple(str(part) for part in name)
        if any(part in {"", ".", ".."} or "/" in part or "\\" in part or ":" in part or "\0" in part for part in parts):
            raise DicomError(f"{file.name}: names a file outside its folder; do not trust this medium")
        yield Reference(parts, str(record.get("DirectoryRecordType", "IMAGE")) == "IMAGE")


def _exact(folder: Path, reference: Reference) -> SourceFile | None:
    path = folder.joinpath(*reference.parts)
    if not path.is_file():
        return None
    return SourceFile(path, None, sanitize_text("/".join(reference.parts)), path.stat().st_size)


def _index(files: Iterable[tuple[str, _File]]) -> dict[_Key, _File]:
    return {_key(name.split("/")): file for name, file in files}


def _find(index: dict[_Key, _File], reference: Reference) -> _File | None:
    """Find a referenced file also in another case or moved up by some folders: media are often copied that way."""
    keys = (_key(reference.parts[start:]) for start in range(len(reference.parts)))
    return next((index[key] for key in keys if key in index), None)


def _key(parts: Sequence[str]) -> _Key:
    return tuple(_COPY_ENDING.sub("", part.lower()) for part in parts)


def _missing(dicomdir: SourceFile, reference: Reference, name: str) -> UnreadableFile:
    problem = "is not there, though the DICOMDIR lists it; copy the medium again"
    return UnreadableFile(dicomdir.container, None, name, 0, problem=problem, is_lost=reference.is_image)
