"""The layout of the RSNA 2022 challenge."""

from pathlib import Path

from cspine.core.anatomy import TARGETS
from cspine.core.errors import SourceError
from cspine.core.text import counted
from cspine.datasets.rsna2022_labels import match_labels, read_labels
from cspine.dicom.study_collection import (
    BOXES_FILE,
    FRACTURES_FOLDER,
    IMAGE_FOLDERS,
    LABELS_FILE,
    SEGMENTATIONS_FOLDER,
    open_collection,
)
from cspine.importing.case import Case, FoundCases


def find_cases(source: Path) -> FoundCases:
    """Return the studies of ``train_images/``, with their labels and masks.

    Parameters
    ----------
    source : Path
        The challenge's folder.

    Raises
    ------
    SourceError, LabelError
        It is no such folder, or its tables are damaged.
    """
    if not (source / IMAGE_FOLDERS[0]).is_dir() or not (source / LABELS_FILE).is_file():
        raise SourceError(f"{source}: has no {IMAGE_FOLDERS[0]}/ and {LABELS_FILE}; give the challenge's folder")
    collection = open_collection(source)
    labels = read_labels(source / LABELS_FILE)
    match = match_labels(labels, [study.study_instance_uid for study in collection.studies])
    rows = labels.astype(int).to_dict(orient="index")
    cases = []
    for study in collection.studies:
        uid = study.study_instance_uid
        targets = {target: int(rows[uid][target]) for target in TARGETS} if uid in rows else None
        if study.folder is not None:
            masks, fractures = (_label_map(source / name, uid) for name in (SEGMENTATIONS_FOLDER, FRACTURES_FOLDER))
            cases.append(
                Case(
                    uid,
                    uid,
                    study.folder,
                    masks=masks,
                    numbering="rsna",
                    fractures=fractures,
                    has_numbered_fractures=True,
                    targets=targets,
                )
            )
    warnings = [f"{file.name}: {file.reason}" for file in collection.skipped]
    if match.labels_without_studies:
        count = counted(len(match.labels_without_studies), "study", "studies")
        warnings.append(f"{LABELS_FILE}: {count} have labels and no images (first: {match.labels_without_studies[0]})")
    boxes = source / BOXES_FILE
    return FoundCases(tuple(cases), tuple(warnings), source / LABELS_FILE, boxes if boxes.is_file() else None)


def _label_map(folder: Path, uid: str) -> Path | None:
    """Return the label map of a study, if there is one."""
    paths = (folder / f"{uid}{ending}" for ending in (".nii", ".nii.gz"))
    return next((path for path in paths if path.is_file()), None)
