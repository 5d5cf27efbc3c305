"""The layout of CTSpine1K.

::

    rawdata/volumes/COLONOG/1.3.6.1.4.1.9328.50.4.0004.nii.gz
    rawdata/labels/COLONOG/1.3.6.1.4.1.9328.50.4.0004_seg.nii.gz
"""

import re
from pathlib import Path
from typing import Final

from cspine.core.errors import SourceError
from cspine.core.text import counted
from cspine.importing.case import Case, FoundCases
from cspine.importing.layouts.names import stem, study_names

_PATIENT: Final = re.compile(r"HN_P\d+")


def find_cases(source: Path) -> FoundCases:
    """Return the scans of CTSpine1K that have a mask.

    Parameters
    ----------
    source : Path
        Folder that holds ``volumes/`` and ``labels/``, or holds ``rawdata/`` with both.

    Raises
    ------
    SourceError
        It holds no such folders.
    """
    root = next(
        (path for path in (source, source / "rawdata", source / "raw_data") if (path / "labels").is_dir()), None
    )
    if root is None or not (root / "volumes").is_dir():
        raise SourceError(f"{source}: holds no volumes/ and labels/; give the unpacked CTSpine1K")
    masks = sorted((root / "labels").rglob("*_seg.nii*"))
    pairs, lacking = [], []
    for mask in masks:
        place = mask.parent.relative_to(root / "labels")
        name = stem(mask).removesuffix("_seg")
        scans = [root / "volumes" / place / f"{name}{ending}" for ending in (".nii.gz", ".nii")]
        scan = next((path for path in scans if path.is_file()), None)
        if scan is None:
            lacking.append(mask.name)
        else:
            pairs.append((name, place / name, scan, mask))
    if not pairs:
        raise SourceError(f"{source}: none of its {len(masks)} masks has a scan of its name in volumes/; unpack both")
    studies = study_names("ctspine1k", [(name, place.parent / scan.name) for name, place, scan, _ in pairs])
    cases = tuple(
        Case(study, name, scan, subject=_subject(place), masks=mask, numbering="ctspine1k")
        for study, (name, place, scan, mask) in zip(studies, pairs, strict=True)
    )
    warnings = []
    if lacking:
        warnings.append(f"{counted(len(lacking), 'mask has', 'masks have')} no scan in volumes/ (first: {lacking[0]})")
    return FoundCases(cases, tuple(warnings))


def _subject(place: Path) -> str:
    """Return the patient of a scan: HNSCC-3DCT-RT has several of each, HN_P001_pre, HN_P001_dur and so on.

    >>> _subject(Path("HNSCC-3DCT-RT/HN_P001_pre")), _subject(Path("COLONOG/1.3.6"))
    ('HNSCC-3DCT-RT/HN_P001', 'COLONOG/1.3.6')
    """
    named = _PATIENT.match(place.name)
    return (place.parent / named[0] if named else place).as_posix()
