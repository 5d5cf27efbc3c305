"""A phantom data set on disk, in the challenge's layout.

::

    OUT/
      phantom.json               which job made it; marks the data set as a phantom
      train.csv                  labels
      train_images/UID/N.dcm     slices
      train_bounding_boxes.csv   a box per crack and slice, in pixels
      segmentations/UID.nii      vertebrae, as the challenge numbers them
      fractures/UID.nii.gz       where each fracture is, of studies with fractures, by the truth's mask_value
      truth/UID.json             everything else: kinds, widths, displacements, visibility, places
"""

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.files import open_run_directory, output_errors, read_json, write_bytes, write_json, write_text
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.dicom.study_collection import BOXES_FILE, FRACTURES_FOLDER, LABELS_FILE, PHANTOM_MARKER, TRUTH_FOLDER
from cspine.phantom.scanner.dicom import Identity, draw_writing, instance_numbers, write_slices
from cspine.phantom.settings import GENERATOR, PhantomSettings, stream
from cspine.phantom.study import PhantomStudy, render_study

_NIFTI_HEAD_BYTES: Final = 352
"""Of a file that holds header and data: 348, and 4 to say that no extension follows."""


@dataclass(frozen=True)
class SynthSummary:
    """What a run of `synthesize` did."""

    studies: int
    made_now: int
    fractured: int
    bytes: int


@dataclass(frozen=True)
class _Task:
    out: Path
    seed: int
    index: int
    settings: PhantomSettings

    @property
    def identity(self) -> Identity:
        return Identity(self.seed, self.index, self.settings.domain)

    @property
    def truth_path(self) -> Path:
        """Written last: it means that the study is whole."""
        return self.out / TRUTH_FOLDER / f"{self.identity.study_uid}.json"

    @property
    def images(self) -> Path:
        return self.out / "train_images" / self.identity.study_uid


def synthesize(
    out: Path,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> SynthSummary:
    """Write a phantom data set; an interrupted run goes on where it stopped.

    Parameters
    ----------
    out : Path
        The data set's folder.
    studies : int
        How many; study i is the same whatever their number.
    seed : int
        The same seed gives the same studies.
    settings : PhantomSettings, optional
        Ranges to draw from.
    workers : int
        Processes to use; the studies do not depend on it.
    progress : Progress
        Told how many studies are written.

    Returns
    -------
    SynthSummary

    Raises
    ------
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    settings = settings or PhantomSettings()
    identity = {
        "kind": "phantom",
        "generator": GENERATOR,
        "seed": seed,
        "studies": studies,
        "settings": settings.model_dump(mode="json"),
    }
    open_run_directory(out, PHANTOM_MARKER, identity, remedy="choose another --out, or delete it")
    tasks = [_Task(out, seed, index, settings) for index in range(studies)]
    missing = [task for task in tasks if not task.truth_path.is_file()]
    for outcome in parallel_map(_write_study, missing, workers=workers, progress=progress):
        outcome.get()
    truths = [read_json(task.truth_path) for task in tasks]
    labels = pd.DataFrame([_label_row(truth) for truth in truths])
    boxes = pd.DataFrame([box for truth in truths for box in truth["boxes"]], columns=[STUDY, *BOX_COLUMNS])
    write_text(out / LABELS_FILE, labels.to_csv(index=False))
    write_text(out / BOXES_FILE, boxes.to_csv(index=False))
    return SynthSummary(studies, len(missing), int(labels[OVERALL].sum()), sum(int(truth["bytes"]) for truth in truths))


def _write_study(task: _Task) -> None:
    """Render and write one study in a worker."""
    study, uid = render_study(task.seed, task.index, task.settings), task.identity.study_uid
    writing = draw_writing(stream(task.seed, task.index, task.settings, 1), task.settings)
    part = task.images.with_name(f".{task.images.name}.part")
    with output_errors(task.images):
        for folder in (part, task.images):
            if folder.exists():
                shutil.rmtree(folder)
        write_slices(study, task.identity, part, writing)
        part.replace(task.images)
    _write_mask(study.labels, study.affine_lps, task.out / "segmentations" / f"{uid}.nii")
    if study.fracture_mask.any():
        _write_mask(study.fracture_mask, study.affine_lps, task.out / FRACTURES_FOLDER / f"{uid}.nii.gz")
    truth = {
        "study_instance_uid": uid,
        **study.truth,
        "boxes": _boxes(study, uid, upward=writing.upward),
        "bytes": sum(path.stat().st_size for path in task.images.iterdir()),
    }
    write_json(task.truth_path, truth)


def _label_row(truth: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, int] = {level: int(level in truth["levels"]) for level in VERTEBRAE}
    return {
        STUDY: truth["study_instance_uid"],
        **{target: row.get(target, int(any(row.values()))) for target in TARGETS},
    }


def _write_mask(mask: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64], path: Path) -> None:
    """Write labels with sagittal slices first, so that only the affine tells where voxels lie, as in RSNA's."""
    affine_lps = affine[:, [2, 0, 1, 3]].copy()  # axes i, k, j
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    affine_lps[:3, 3] += affine_lps[:3, 1] * (mask.shape[0] - 1)
    affine_lps[:3, 1] *= -1  # k runs from the head down
    # NIfTI counts its first axis fastest: a row of the mask stays a row, which copies well.
    stored = np.ascontiguousarray(mask.transpose(1, 0, 2)[:, ::-1])
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(stored.shape[::-1])
    header.set_zooms(spacing)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    header.set_sform(to_ras, code=1)
    steps = affine_lps[:3, :3] / spacing
    if np.allclose(steps.T @ steps, np.eye(3), atol=1e-6):  # of a tilted scan the sform alone can tell
        header.set_qform(to_ras, code=1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", _NIFTI_HEAD_BYTES
    head = header.binaryblock.ljust(_NIFTI_HEAD_BYTES, b"\0")
    content = head + stored.tobytes()
    write_bytes(path, gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)


def _boxes(study: PhantomStudy, uid: str, *, upward: bool) -> list[dict[str, Any]]:
    """Return a box for every connected piece of a fracture in every slice, in pixels, with its level and mask value."""
    numbers = instance_numbers(len(study.hu), upward=upward)
    boxes = []
    for k in np.flatnonzero(study.fracture_mask.any(axis=(1, 2))).tolist():
        for found in study.truth["fractures"]:
            broken = study.fracture_mask[k] == found["mask_value"]
            if not broken.any():
                continue
            pieces, _ = ndimage.label(ndimage.binary_dilation(broken, iterations=3))
            for rows, columns in ndimage.find_objects(pieces):
                boxes.append(
                    {
                        STUDY: uid,
                        "x": float(columns.start),
                        "y": float(rows.start),
                        "width": float(columns.stop - columns.start),
                        "height": float(rows.stop - rows.start),
                        "slice_number": numbers[k],
                        "level": found["level"],
                        "mask_value": found["mask_value"],
                    }
                )
    return boxes
