"""Files of a study with exact truth, in the layout of the RSNA 2022 challenge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.files import atomic_folder, remove_unfinished, write_json, write_text
from cspine.dicom.nifti.write import write_label_map
from cspine.dicom.study_collection import (
    BOXES_FILE,
    FRACTURES_FOLDER,
    IMAGE_FOLDERS,
    LABELS_FILE,
    SEGMENTATIONS_FOLDER,
    TRUTH_FOLDER,
)
from cspine.phantom.scanner.dicom import StudyIdentity, WriteOptions, instance_numbers, write_slices
from cspine.phantom.study import PhantomStudy


def truth_path(out: Path, study_uid: str) -> Path:
    """Return the path of a study's truth, which is written last: it exists only of complete studies."""
    return out / TRUTH_FOLDER / f"{study_uid}.json"


def write_study_files(study: PhantomStudy, identity: StudyIdentity, options: WriteOptions, out: Path) -> None:
    """Write slices, masks and truth of one study.

    Parameters
    ----------
    study : PhantomStudy
        Scan and truth.
    identity : StudyIdentity
        Its UIDs.
    options : WriteOptions
        Order, header and compression of the slices.
    out : Path
        Root of the data set.
    """
    uid = identity.study_uid
    images = out / IMAGE_FOLDERS[0] / uid
    with atomic_folder(images) as part:
        write_slices(study, identity, part, options)
    write_label_map(out / SEGMENTATIONS_FOLDER / f"{uid}.nii", study.labels, study.affine_lps)
    if study.fracture_mask.any():
        write_label_map(out / FRACTURES_FOLDER / f"{uid}.nii.gz", study.fracture_mask, study.affine_lps)
    truth = {
        "study_instance_uid": uid,
        **study.truth,
        "boxes": _boxes(study, uid, upward=options.upward),
        "bytes": sum(path.stat().st_size for path in images.iterdir()),
    }
    write_json(truth_path(out, uid), truth)


def write_tables(truths: Sequence[dict[str, Any]], out: Path, *, is_partial: bool = False) -> int:
    """Write labels and bounding boxes of all studies; return how many have a fracture.

    Parameters
    ----------
    truths : sequence of dict
        Truth of each study.
    out : Path
        Root of the data set.
    is_partial : bool
        Whether other processes may still be writing studies; what killed ones left is then kept.
    """
    if not is_partial:
        names = (IMAGE_FOLDERS[0], SEGMENTATIONS_FOLDER, FRACTURES_FOLDER, TRUTH_FOLDER)
        remove_unfinished(out, *(out / name for name in names))
    labels = pd.DataFrame([_label_row(truth) for truth in truths], columns=[STUDY, *TARGETS])
    boxes = pd.DataFrame([box for truth in truths for box in truth["boxes"]], columns=[STUDY, *BOX_COLUMNS])
    write_text(out / LABELS_FILE, labels.to_csv(index=False, lineterminator="\n"))
    write_text(out / BOXES_FILE, boxes.to_csv(index=False, lineterminator="\n"))
    return count_fractured(truths)


def count_fractured(truths: Sequence[dict[str, Any]]) -> int:
    """Return how many of the studies have a fracture."""
    return sum(_label_row(truth)[OVERALL] for truth in truths)


def _label_row(truth: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, int] = {level: int(level in truth["levels"]) for level in VERTEBRAE}
    return {
        STUDY: truth["study_instance_uid"],
        **{target: row.get(target, int(any(row.values()))) for target in TARGETS},
    }


def _boxes(study: PhantomStudy, uid: str, *, upward: bool) -> list[dict[str, Any]]:
    """Return a box in pixels for each connected component of a fracture in each slice, with level and mask value."""
    numbers = instance_numbers(len(study.hu), upward=upward)
    boxes = []
    for k in np.flatnonzero(study.fracture_mask.any(axis=(1, 2))).tolist():
        for fracture in study.truth["fractures"]:
            in_slice = study.fracture_mask[k] == fracture["mask_value"]
            if not in_slice.any():
                continue
            components, _ = ndimage.label(ndimage.binary_dilation(in_slice, iterations=3))
            for rows, columns in ndimage.find_objects(components):
                boxes.append(
                    {
                        STUDY: uid,
                        "x": float(columns.start),
                        "y": float(rows.start),
                        "width": float(columns.stop - columns.start),
                        "height": float(rows.stop - rows.start),
                        "slice_number": numbers[k],
                        "level": fracture["level"],
                        "mask_value": fracture["mask_value"],
                    }
                )
    return boxes
