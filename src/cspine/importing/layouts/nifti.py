"""NIfTI scans of anybody, with label maps in a folder of their own: BIDS, nnU-Net, and plain folders."""

import re
from pathlib import Path
from typing import Final

from cspine.core.anatomy import TARGETS
from cspine.core.errors import SourceError
from cspine.datasets.rsna2022_labels import match_labels, read_labels, read_patients
from cspine.dicom.study_collection import open_collection
from cspine.importing.case import Case, FoundCases
from cspine.importing.layouts.names import safe_name, study_names
from cspine.localization.segmented.study_files import SegmentationFiles

_MASK_FOLDERS: Final = ("segmentations", "labelsTr", "labels", "masks", "derivatives")
"""Folders of masks that are looked for where none is given."""

_SUBJECT: Final = re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)(?=[_/])")
"""The subject in a path of BIDS."""


def mask_folder(source: Path) -> Path | None:
    """Return the folder of masks in a data set, if there is one."""
    return next((path for name in _MASK_FOLDERS if (path := source / name).is_dir()), None)


def find_cases(
    name: str,
    source: Path,
    vertebrae: SegmentationFiles | None,
    fractures: SegmentationFiles | None,
    labels_path: Path | None,
) -> FoundCases:
    """Return the scans, with masks that are named after them.

    Parameters
    ----------
    name : str
        Name of the data set: others have scans and patients of the same names.
    source : Path
        Folder of the scans; label maps in it are left out.
    vertebrae, fractures : SegmentationFiles or None
        Masks of vertebrae, and of fractures.
    labels_path : Path or None
        Labels in the form of the challenge's ``train.csv``, by the names of the scans; a column
        ``patient`` may name their patients.

    Raises
    ------
    SourceError
        There are no scans, or one mask for several.
    LabelError
        The labels are damaged, or those of no scan.
    """
    collection = open_collection(source)
    uids = [study.study_instance_uid for study in collection.studies]
    for masks in filter(None, (vertebrae, fractures)):
        masks.check_count(len(uids))
    labels = read_labels(labels_path, with_patients=True) if labels_path else None
    patients = read_patients(labels_path) if labels_path else {}
    rows = {} if labels is None else labels.astype(int).to_dict(orient="index")
    if labels is not None and not match_labels(labels, uids).with_labels:
        raise SourceError(f"{labels_path}: names none of the {len(uids)} scans (first: {uids[0]}); name them so")
    cases = []
    names = study_names(safe_name(name) or "nifti", [(uid, Path(uid)) for uid in uids])
    for study, uid, each in zip(names, uids, collection.studies, strict=True):
        series = each.study.series if each.study else ()
        containers = {header.file.container for one in series for header in one.headers}
        images = next(iter(containers), source)
        targets = {target: int(rows[uid][target]) for target in TARGETS} if uid in rows else None
        several = "" if len(containers) == 1 else f"{uid}: is no single NIfTI file; export it as one"
        ambiguous = [masks.ambiguity(uid) for masks in (vertebrae, fractures) if masks]
        cases.append(
            Case(
                study,
                uid,
                images,
                subject=f"{name} {patients.get(uid) or _subject(images, source) or uid}",
                masks=vertebrae.of_study(uid).path if vertebrae else None,
                numbering=vertebrae.numbering if vertebrae else "auto",
                fractures=fractures.of_study(uid).path if fractures else None,
                targets=targets,
                problem=next(filter(None, [several, *ambiguous]), ""),
            )
        )
    warnings = [f"{file.name}: {file.reason}" for file in collection.skipped if "label map" not in file.reason]
    return FoundCases(tuple(cases), tuple(warnings), labels_path)


def _subject(scan: Path, source: Path) -> str | None:
    """Return the subject of a scan of BIDS, whose sessions are of one patient; None of other scans."""
    named = _SUBJECT.search(scan.relative_to(source).as_posix()) if scan.is_relative_to(source) else None
    return named[1] if named else None
