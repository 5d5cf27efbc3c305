"""NIfTI scans of anybody, with label maps in a folder of their own: BIDS, nnU-Net, and plain folders."""

from pathlib import Path
from typing import Final

from cspine.core.anatomy import TARGETS
from cspine.core.errors import SourceError
from cspine.datasets.rsna2022_labels import match_labels, read_labels
from cspine.dicom.study_collection import open_collection
from cspine.importing.case import Case, FoundCases
from cspine.importing.layouts.names import study_names
from cspine.localization.segmented.study_files import SegmentationFiles

_MASK_FOLDERS: Final = ("segmentations", "labelsTr", "labels", "masks", "derivatives")
"""Folders of masks that are looked for where none is given."""


def mask_folder(source: Path) -> Path | None:
    """Return the folder of masks in a data set, if there is one."""
    return next((path for name in _MASK_FOLDERS if (path := source / name).is_dir()), None)


def find_cases(
    source: Path, vertebrae: SegmentationFiles | None, fractures: SegmentationFiles | None, labels_path: Path | None
) -> FoundCases:
    """Return the scans, with masks that are named after them.

    Parameters
    ----------
    source : Path
        Folder of the scans; label maps in it are left out.
    vertebrae, fractures : SegmentationFiles or None
        Masks of vertebrae, and of fractures.
    labels_path : Path or None
        Labels in the form of the challenge's ``train.csv``, by the names of the scans.

    Raises
    ------
    SourceError
        There are no scans.
    LabelError
        The labels are damaged, or those of no scan.
    """
    collection = open_collection(source)
    uids = [study.study_instance_uid for study in collection.studies]
    labels = read_labels(labels_path) if labels_path else None
    rows = {} if labels is None else labels.astype(int).to_dict(orient="index")
    if labels is not None and not match_labels(labels, uids).with_labels:
        raise SourceError(f"{labels_path}: names none of the {len(uids)} scans (first: {uids[0]}); name them so")
    cases = []
    names = study_names("nifti", [(uid, Path(uid)) for uid in uids])
    for study, uid, each in zip(names, uids, collection.studies, strict=True):
        series = each.study.series if each.study else ()
        containers = {header.file.container for one in series for header in one.headers}
        targets = {target: int(rows[uid][target]) for target in TARGETS} if uid in rows else None
        cases.append(
            Case(
                study,
                uid,
                next(iter(containers), source),
                subject=uid,
                masks=vertebrae.of_study(uid).path if vertebrae else None,
                numbering=vertebrae.numbering if vertebrae else "auto",
                fractures=fractures.of_study(uid).path if fractures else None,
                targets=targets,
                problem="" if len(containers) == 1 else f"{uid}: is no single NIfTI file; export it as one",
            )
        )
    warnings = [f"{file.name}: {file.reason}" for file in collection.skipped if "label map" not in file.reason]
    return FoundCases(tuple(cases), tuple(warnings), labels_path)
