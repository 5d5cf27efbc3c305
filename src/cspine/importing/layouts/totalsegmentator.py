"""The layout of TotalSegmentator's data set, with one file for each structure or one label map.

::

    meta.csv
    s0000/ct.nii.gz
    s0000/segmentations/vertebrae_C1.nii.gz ...
"""

import csv
from pathlib import Path
from typing import Final

from cspine.core.errors import LabelError, SourceError
from cspine.core.text import counted
from cspine.importing.case import Case, FoundCases
from cspine.importing.layouts.names import study_names
from cspine.localization.segmented.numbering import Numbering

_LABEL_MAPS: Final = ("segmentations.nii.gz", "segmentation.nii.gz", "labels.nii.gz", "multilabel.nii.gz", "ml.nii.gz")
_PARTS: Final = {"train": "train", "val": "validation", "test": "test"}


def find_cases(source: Path, numbering: Numbering = "auto") -> FoundCases:
    """Return the scans of TotalSegmentator that have masks.

    Parameters
    ----------
    source : Path
        Folder of its cases.
    numbering : str
        Which vertebra each value of a label map is; versions 1 and 2 number them differently.

    Raises
    ------
    SourceError
        It holds no ``ct.nii.gz`` with masks beside it.
    LabelError
        Its ``meta.csv`` is damaged.
    """
    scans = sorted(source.glob("*/ct.nii.gz"))
    parts = _official_parts(source / "meta.csv")
    masks = {scan: _masks(scan.parent) for scan in scans}
    labeled = [scan for scan in scans if masks[scan]]
    if not labeled:
        raise SourceError(f"{source}: no folder in it holds ct.nii.gz and segmentations/; give TotalSegmentator's data")
    studies = study_names("totalsegmentator", [(scan.parent.name, Path(scan.parent.name)) for scan in labeled])
    cases = tuple(
        Case(
            study,
            scan.parent.name,
            scan,
            subject=scan.parent.name,
            masks=masks[scan],
            numbering=numbering,
            official_part=parts.get(scan.parent.name, ""),
        )
        for study, scan in zip(studies, labeled, strict=True)
    )
    count = len(scans) - len(labeled)
    return FoundCases(cases, (f"{counted(count, 'scan has', 'scans have')} no segmentations",) if count else ())


def _masks(folder: Path) -> Path | None:
    """Return the folder of masks, or the label map, of a case."""
    if (folder / "segmentations").is_dir():
        return folder / "segmentations"
    return next((path for name in _LABEL_MAPS if (path := folder / name).is_file()), None)


def _official_parts(path: Path) -> dict[str, str]:
    """Return the part of each case by ``meta.csv``, whose columns are separated by semicolons; empty without it."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        return {row["image_id"]: _PARTS.get(row["split"], "") for row in rows}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise LabelError(
            f"{path}: has no columns image_id and split, separated by semicolons ({type(error).__name__}); get it again"
        ) from error
