"""Names of studies that have no StudyInstanceUID: of their case and its data set, unique and safe as names of files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")

_PARTS: Final = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}


def study_names(data_set: str, cases: Sequence[tuple[str, Path]]) -> list[str]:
    """Return the names of studies: data set and case, or its path below the data set where cases repeat.

    Parameters
    ----------
    data_set : str
        The layout's name.
    cases : sequence of (str, Path)
        Name of each case, and its path below the data set's root.

    Examples
    --------
    >>> study_names("verse", [("sub-1", Path("a/sub-1")), ("sub-1", Path("b/sub-1")), ("sub-2", Path("b/sub-2"))])
    ['verse-a-sub-1', 'verse-b-sub-1', 'verse-sub-2']
    """
    counts = Counter(name for name, _ in cases)
    return [
        f"{data_set}-{_UNSAFE.sub('-', name if counts[name] == 1 else '-'.join(path.parts)).strip('-')}"
        for name, path in cases
    ]


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
    >>> official_part(Path("volumes/COLONOG"))
    ''
    """
    for part in path.parts:
        match = re.search(r"(train(?:ing)?|val(?:idation)?|test)$", part.lower())
        if match:
            return _PARTS[match[1]]
    return ""
