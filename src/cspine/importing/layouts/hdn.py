"""The layout of Health Data Nexus' "Fracture Detection on Cervical Spine CT": multi-frame CT and DICOM segmentations.

Names of files and folders do not count: headers say which segmentation is of which study.
"""

from collections import defaultdict
from pathlib import Path

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError, SourceError
from cspine.core.text import counted
from cspine.dicom.discovery import discover_files
from cspine.dicom.files.listing import list_folder
from cspine.dicom.seg_file import seg_study_uid
from cspine.dicom.series import Study
from cspine.dicom.sources import SourceFile
from cspine.importing.case import Case, FoundCases
from cspine.localization.segmented.study_files import SegmentationFiles


def find_cases(source: Path, vertebrae: SegmentationFiles | None) -> FoundCases:
    """Return the scans, with their masks of fractures.

    Parameters
    ----------
    source : Path
        Folder of the data set, of any depth.
    vertebrae : SegmentationFiles or None
        Masks of vertebrae that somebody made of these scans, by which fractures get their levels.

    Raises
    ------
    SourceError
        There are no scans.
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
    users = defaultdict[Path, set[str]](set)
    for study in discovery.studies:
        for path in _containers(study):
            users[path.parent].add(study.study_instance_uid)
    cases = tuple(
        _to_case(study, masks.get(study.study_instance_uid, []), users, vertebrae) for study in discovery.studies
    )
    known = {case.study for case in cases}
    orphans = [paths[0].name for uid, paths in masks.items() if uid not in known]
    n_masked = sum(case.fractures is not None for case in cases)
    warnings = [f"{n_masked} of {len(cases)} scans have a mask of fractures; the others are taken for intact"]
    if orphans:
        warnings.append(
            f"{counted(len(orphans), 'mask is', 'masks are')} of no scan that is here (first: {orphans[0]})"
        )
    warnings += [f"{file.name}: {file.reason}" for file in discovery.skipped]
    return FoundCases(cases, tuple(warnings))


def _to_case(study: Study, masks: list[Path], users: dict[Path, set[str]], vertebrae: SegmentationFiles | None) -> Case:
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
    targets = None if masks else dict.fromkeys(TARGETS, 0)
    return Case(
        uid, uid, images, masks=found, fractures=masks[0] if masks else None, targets=targets, problem=problem,
        numbering=vertebrae.numbering if vertebrae else "auto",
    )  # fmt: skip


def _containers(study: Study) -> set[Path]:
    return {header.file.container for series in study.series for header in series.headers}
