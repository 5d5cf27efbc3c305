"""Names of studies that have no StudyInstanceUID: of their case and its data set, unique and safe as names of files."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_FILE_NAME: Final = re.compile(r"(?![\s.])[^/\\:*?\"<>|\x00-\x1f]{1,200}(?<![\s.])")

_PARTS: Final = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}


def study_names(data_set: str, cases: Sequence[tuple[str, Path]]) -> list[str]:
    """Return the names of studies: data set and case, or its path below the data set where cases repeat.

    Names differ in more than capitals and in more than what is no letter of ASCII: where they do not, a hash of the
    path tells them apart.

    Parameters
    ----------
    data_set : str
        The layout's name, or that of the data set.
    cases : sequence of (str, Path)
        Name of each case, and its scan below the data set's root.

    Examples
    --------
    >>> study_names("verse", [("sub-1", Path("a/x.nii")), ("sub-1", Path("b/x.nii")), ("sub-2", Path("b/y.nii"))])
    ['verse-a-sub-1', 'verse-b-sub-1', 'verse-sub-2']
    >>> study_names("verse", [("scan 1", Path("scan 1.nii")), ("Scan-1", Path("Scan-1.nii"))])
    ['verse-scan-1-e3f64c99', 'verse-Scan-1-f91287c9']
    """
    prefix, names = safe_name(data_set), [safe_name(name) for name, _ in cases]
    counts = Counter(name.casefold() for name in names)
    for number, (name, path) in enumerate(cases):
        if counts[names[number].casefold()] > 1 and "/" not in name:
            names[number] = safe_name("-".join([*path.parent.parts, name]))
    counts = Counter(name.casefold() for name in names)
    for number, (_, path) in enumerate(cases):
        if counts[names[number].casefold()] > 1 or not names[number]:
            code = hashlib.sha256(path.as_posix().encode("utf-8", "surrogatepass")).hexdigest()[:8]
            names[number] = f"{names[number]}-{code}".strip("-")
    return [f"{prefix}-{name}" for name in names]


def safe_name(text: str) -> str:
    """Return text as part of a file's name, without what is no letter or digit of ASCII.

    >>> safe_name("St. Elsewhere's")
    'St.-Elsewhere-s'
    """
    return _UNSAFE.sub("-", text).strip("-.")


def is_file_name(study: str) -> bool:
    """Return whether the name of a study may be that of a file: a header's UID might lead elsewhere.

    >>> is_file_name("1.2.3"), is_file_name("../1.2.3")
    (True, False)
    """
    return _FILE_NAME.fullmatch(study) is not None


def stem(path: Path) -> str:
    """Return a file's name without .nii or .nii.gz.

    >>> stem(Path("rawdata/sub-1_ct.nii.gz"))
    'sub-1_ct'
    """
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def official_part(path: Path) -> str:
    """Return the part of a data set's own split that a path names, or nothing.

    >>> official_part(Path("dataset-verse19training/rawdata/sub-1")), official_part(Path("03_test/sub-verse005"))
    ('train', 'test')
    >>> official_part(Path("volumes/COLONOG")), official_part(Path("latest/contest"))
    ('', '')
    """
    for part in path.parts:
        match = re.search(r"(?:^|[^a-z])(train(?:ing)?|val(?:idation)?|test)$", part.lower())
        if match:
            return _PARTS[match[1]]
    return ""
