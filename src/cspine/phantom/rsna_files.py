"""Files of a study with exact truth, in the layout of the RSNA 2022 challenge."""

import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import pandas as pd
from scipy import ndimage

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.files import output_errors, write_bytes, write_json, write_text
from cspine.core.typing import Floats, Labels
from cspine.dicom.study_collection import BOXES_FILE, FRACTURES_FOLDER, IMAGE_FOLDERS, LABELS_FILE, TRUTH_FOLDER
from cspine.phantom.scanner.dicom import StudyIdentity, WriteOptions, instance_numbers, write_slices
from cspine.phantom.study import PhantomStudy

_NIFTI_HEADER_BYTES: Final = 352
"""Header of 348 bytes, and 4 bytes that say that no extension follows."""


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
    part = images.with_name(f".{images.name}.part")
    with output_errors(images):
        for folder in (part, images):
            if folder.exists():
                shutil.rmtree(folder)
        write_slices(study, identity, part, options)
        part.replace(images)
    _write_mask(study.labels, study.affine_lps, out / "segmentations" / f"{uid}.nii")
    if study.fracture_mask.any():
        _write_mask(study.fracture_mask, study.affine_lps, out / FRACTURES_FOLDER / f"{uid}.nii.gz")
    truth = {
        "study_instance_uid": uid,
        **study.truth,
        "boxes": _boxes(study, uid, upward=options.upward),
        "bytes": sum(path.stat().st_size for path in images.iterdir()),
    }
    write_json(truth_path(out, uid), truth)


def write_tables(truths: Sequence[dict[str, Any]], out: Path) -> int:
    """Write labels and bounding boxes of all studies; return how many have a fracture."""
    labels = pd.DataFrame([_label_row(truth) for truth in truths], columns=[STUDY, *TARGETS])
    boxes = pd.DataFrame([box for truth in truths for box in truth["boxes"]], columns=[STUDY, *BOX_COLUMNS])
    write_text(out / LABELS_FILE, labels.to_csv(index=False, lineterminator="\n"))
    write_text(out / BOXES_FILE, boxes.to_csv(index=False, lineterminator="\n"))
    return int(labels[OVERALL].sum())


def _label_row(truth: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, int] = {level: int(level in truth["levels"]) for level in VERTEBRAE}
    return {
        STUDY: truth["study_instance_uid"],
        **{target: row.get(target, int(any(row.values()))) for target in TARGETS},
    }


def _write_mask(mask: Labels, affine: Floats, path: Path) -> None:
    """Write a label map as sagittal slices, as the challenge does: readers must use the affine."""
    affine_lps = affine[:, [2, 0, 1, 3]].copy()  # axes i, k, j
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    affine_lps[:3, 3] += affine_lps[:3, 1] * (mask.shape[0] - 1)
    affine_lps[:3, 1] *= -1  # k descends from the head
    # The first axis of NIfTI varies fastest. Rows of the mask stay contiguous, which makes the copy fast.
    stored = np.ascontiguousarray(mask.transpose(1, 0, 2)[:, ::-1])
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(stored.shape[::-1])
    header.set_zooms(spacing)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    header.set_sform(to_ras, code=1)
    directions = affine_lps[:3, :3] / spacing
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-6):  # a qform cannot express a tilted gantry
        header.set_qform(to_ras, code=1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", _NIFTI_HEADER_BYTES
    head = header.binaryblock.ljust(_NIFTI_HEADER_BYTES, b"\0")
    content = head + stored.tobytes()
    write_bytes(path, gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)


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
