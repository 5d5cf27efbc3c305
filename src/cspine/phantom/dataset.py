"""Writes a phantom data set in the layout of the RSNA 2022 challenge.

::

    OUT/
      phantom.json               the job that wrote it; marks the data set as a phantom
      train.csv                  labels
      train_images/UID/N.dcm     slices
      train_bounding_boxes.csv   a box per fracture and slice, in pixels
      segmentations/UID.nii      vertebrae, numbered as in the challenge
      fractures/UID.nii.gz       fractures, by their mask_value in the truth; of studies with fractures
      truth/UID.json             all other truth; see `cspine.phantom.truth`
"""

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import pandas as pd
from scipy import ndimage

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import BOX_COLUMNS, STUDY
from cspine.core.files import output_errors, read_json, write_bytes, write_json, write_text
from cspine.core.jobs import ResumableJob
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, Labels
from cspine.dicom.study_collection import BOXES_FILE, FRACTURES_FOLDER, LABELS_FILE, PHANTOM_MARKER, TRUTH_FOLDER
from cspine.phantom.scanner.dicom import Identity, draw_write_options, instance_numbers, write_slices
from cspine.phantom.settings import GENERATOR, PhantomSettings, random_stream
from cspine.phantom.study import PhantomStudy, render_study

_FORMAT: Final = 2
"""Format of the data set. Format 1, of cspine 0.1, had other fields in its reference standard."""

_NIFTI_HEADER_BYTES: Final = 352
"""Header of 348 bytes, and 4 bytes that say that no extension follows."""


@dataclass(frozen=True)
class SynthSummary:
    """Result of `synthesize`.

    Attributes
    ----------
    studies : int
        Number of studies in the data set.
    made_now : int
        Number of studies that this call wrote; the others were there before.
    fractured : int
        Number of studies with at least one fracture.
    bytes : int
        Total size of the DICOM files in bytes.
    """

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
        """Written last, so that it exists only of complete studies."""
        return self.out / TRUTH_FOLDER / f"{self.identity.study_uid}.json"

    @property
    def images(self) -> Path:
        return self.out / "train_images" / self.identity.study_uid


def synthesize(
    out: str | Path,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> SynthSummary:
    """Write a phantom data set; an interrupted call is resumed.

    Parameters
    ----------
    out : str or Path
        Folder of the data set.
    studies : int
        Number of studies; study i does not depend on it.
    seed : int
        The same seed gives the same studies.
    settings : PhantomSettings, optional
        Distributions to draw from; the source domain by default.
    workers : int
        Number of processes; the studies do not depend on it.
    progress : Progress
        Called with the number of studies written.

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
    out = Path(out)
    settings = settings or PhantomSettings()
    identity = {
        "format": _FORMAT,
        "kind": "phantom",
        "generator": GENERATOR,
        "seed": seed,
        "studies": studies,
        "settings": settings.model_dump(mode="json"),
    }
    ResumableJob(out, PHANTOM_MARKER, identity).open()
    tasks = [_Task(out, seed, index, settings) for index in range(studies)]
    made_now = 0
    for outcome in parallel_map(_write_study, tasks, is_done=_is_written, workers=workers, progress=progress):
        outcome.get()
        made_now += 1
    truths = [read_json(task.truth_path) for task in tasks]
    labels = pd.DataFrame([_label_row(truth) for truth in truths])
    boxes = pd.DataFrame([box for truth in truths for box in truth["boxes"]], columns=[STUDY, *BOX_COLUMNS])
    write_text(out / LABELS_FILE, labels.to_csv(index=False, lineterminator="\n"))
    write_text(out / BOXES_FILE, boxes.to_csv(index=False, lineterminator="\n"))
    n_bytes = sum(int(truth["bytes"]) for truth in truths)
    return SynthSummary(studies, made_now, int(labels[OVERALL].sum()), n_bytes)


def _is_written(task: _Task) -> bool:
    return task.truth_path.is_file()


def _write_study(task: _Task) -> None:
    """Render and write one study in a worker process."""
    study, uid = render_study(task.seed, task.index, task.settings), task.identity.study_uid
    options = draw_write_options(random_stream(task.seed, task.index, task.settings, 1), task.settings)
    part = task.images.with_name(f".{task.images.name}.part")
    with output_errors(task.images):
        for folder in (part, task.images):
            if folder.exists():
                shutil.rmtree(folder)
        write_slices(study, task.identity, part, options)
        part.replace(task.images)
    _write_mask(study.labels, study.affine_lps, task.out / "segmentations" / f"{uid}.nii")
    if study.fracture_mask.any():
        _write_mask(study.fracture_mask, study.affine_lps, task.out / FRACTURES_FOLDER / f"{uid}.nii.gz")
    truth = {
        "study_instance_uid": uid,
        **study.truth,
        "boxes": _boxes(study, uid, upward=options.upward),
        "bytes": sum(path.stat().st_size for path in task.images.iterdir()),
    }
    write_json(task.truth_path, truth)


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
