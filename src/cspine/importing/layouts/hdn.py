"""The layout of Health Data Nexus' "Fracture Detection on Cervical Spine CT": multi-frame CT and DICOM segmentations.

Names of files and folders do not count: headers say which segmentation is of which study.
"""

from collections import defaultdict
from pathlib import Path
from typing import Final

import pydicom

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError, SourceError
from cspine.core.text import counted
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.discovery import discover_files
from cspine.dicom.files.listing import list_folder
from cspine.dicom.seg_file import seg_study_uid
from cspine.dicom.series import Study
from cspine.dicom.sources import SourceFile
from cspine.importing.case import Case, FoundCases
from cspine.localization.segmented.study_files import SegmentationFiles

_HEAD: Final = 1024
"""Bytes by which text is told from other files."""


def find_cases(source: Path, vertebrae: SegmentationFiles | None) -> FoundCases:
    """Return the scans, with their masks of fractures.

    Parameters
    ----------
    source : Path
        Folder of the data set, of any depth.
    vertebrae : SegmentationFiles or None
        Masks of vertebrae that somebody made of these scans, by which fractures get their levels.

    Scans without a mask are intact only if every mask can be read and is of a scan that is here; otherwise their labels
    are not known.

    Raises
    ------
    SourceError
        There are no scans, or one mask of vertebrae for several.
    LabelError
        There is no segmentation: every scan would be taken for intact.
    """
    images, masks = list[SourceFile](), defaultdict[str, list[Path]](list)
    for file in list_folder(source):
        uid = seg_study_uid(file.container)
        if uid is None:
            images.append(file)
        else:
            masks[uid].append(file.container)
    if not images:
        raise SourceError(f"{source}: holds no scans; give the folder of the data set")
    if not masks:
        raise LabelError(f"{source}: holds no DICOM segmentation, so that no scan would be fractured; get them, too")
    discovery = discover_files(images, origin=str(source))
    scans = [study for study in discovery.studies if study.study_instance_uid]  # a damaged header has none
    if not scans:
        raise SourceError(f"{source}: holds no scan whose header names its study; get the data set again")
    if vertebrae:
        vertebrae.check_count(len(scans))
    users = defaultdict[Path, set[str]](set)
    for study in scans:
        for path in _containers(study):
            users[path.parent].add(study.study_instance_uid)
    known = {study.study_instance_uid for study in scans}
    orphans = [paths[0].name for uid, paths in masks.items() if uid not in known]
    used = {header.file.name for study in scans for series in study.series for header in series.headers}
    lost = [file.name for file in images if file.name not in used and _may_be_mask(file)]
    others = None if orphans or lost else dict.fromkeys(TARGETS, 0)
    cases = tuple(_to_case(study, masks.get(study.study_instance_uid, []), users, vertebrae, others) for study in scans)
    n_masked = sum(case.fractures is not None for case in cases)
    taken = "are taken for intact" if others else "have no labels: a mask may be among what follows"
    warnings = [f"{n_masked} of {len(cases)} scans have a mask of fractures; the others {taken}"]
    for names, what in (
        (orphans, ("mask is of no scan that is here", "masks are of no scan that is here")),
        (lost, ("file cannot be read and may be a mask", "files cannot be read and may be masks")),
    ):
        if names:
            warnings.append(f"{counted(len(names), *what)} (first: {names[0]}); get the data set again")
    warnings += [f"{file.name}: {file.reason}" for file in discovery.skipped]
    return FoundCases(cases, tuple(warnings))


def _may_be_mask(file: SourceFile) -> bool:
    """Return whether a file is damaged, or of no known kind, so that it might have been a mask."""
    path = file.container
    if file.is_packed or path.name.upper() == "DICOMDIR":
        return file.is_packed
    try:
        with suppress_pydicom_warnings():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "StudyInstanceUID"])
    except Exception:  # noqa: BLE001 - pydicom raises errors of any type on files that are no DICOM
        head = file.read(_HEAD)
        is_binary = not head or b"\0" in head
        return path.suffix.lower() == ".dcm" or head[128:132] == b"DICM" or (is_binary and not path.suffix)
    return not header.get("SOPClassUID") or not header.get("StudyInstanceUID")


def _to_case(
    study: Study,
    masks: list[Path],
    users: dict[Path, set[str]],
    vertebrae: SegmentationFiles | None,
    others: dict[str, int] | None,
) -> Case:
    """Return the case of a study; `others` are the labels of one without a mask."""
    uid, containers = study.study_instance_uid, _containers(study)
    folder = next(iter(containers)).parent
    problem = ""
    if len(containers) == 1:
        images = next(iter(containers))
    else:
        images = folder
        if len(users[folder]) > 1 or any(path.parent != folder for path in containers):
            problem = f"{folder.name}: files of study {uid} lie among others'; give each study a folder"
    if len(masks) > 1:
        problem = f"{masks[0].name}: study {uid} has {len(masks)} masks of fractures; leave one"
    found = vertebrae.of_study(uid).path if vertebrae else None
    if vertebrae and not problem:
        problem = vertebrae.ambiguity(uid)
    targets = None if masks else others
    return Case(
        uid, uid, images, masks=found, fractures=masks[0] if masks else None, targets=targets, problem=problem,
        numbering=vertebrae.numbering if vertebrae else "auto",
    )  # fmt: skip


def _containers(study: Study) -> set[Path]:
    return {header.file.container for series in study.series for header in series.headers}
