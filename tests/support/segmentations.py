"""A small phantom with labeled vertebrae, and its labels in the layouts in which others write them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.typing import Floats, Labels
from cspine.phantom import Crop, PhantomSettings, render_coarse
from cspine.phantom.disorders.settings import NO_DISORDERS
from cspine.phantom.mimics.settings import NO_MIMICS
from tests.support.dicom import STUDY_UID, write_series

SPACING_MM = 2.0
LEVELS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
NAMED_C3 = {"C3": (CodedConcept("113205007", "SCT", "C3 vertebra"), "C3")}
"""The segments of a segmentation of C3 only."""

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@cache
def phantom() -> Crop:
    """Return a plain neck from C1 to T2, scanned in 2 mm voxels; T2 is cut off, and no other vertebra."""
    settings = PhantomSettings(
        prevalence=0.0,
        disorders=NO_DISORDERS,
        mimics=NO_MIMICS,
        tilt_fraction=0.0,
        field_of_view_mm=(130.0, 130.0),
    )
    return render_coarse(11, 0, settings, spacing_mm=SPACING_MM)


def labels() -> Labels:
    """Return its labels as the challenge numbers them, (k, j, i)."""
    numbers = phantom().labels.copy()
    numbers[numbers > len(LEVELS)] = 0
    return numbers


def volume() -> highdicom.Volume:
    """Return its HU."""
    return highdicom.Volume(phantom().hu, phantom().affine_lps, "PATIENT")


def renumbered(numbers: Mapping[str, int]) -> Labels:
    """Return the labels with other numbers, by level; vertebrae without one are left out."""
    table = np.zeros(256, np.uint8)
    for level, number in numbers.items():
        table[SEGMENT_NUMBERS[level]] = number
    return np.asarray(table[labels()])


def write_nifti(
    path: Path,
    array: npt.NDArray[Any],
    affine_lps: Floats | None = None,
    *,
    order: tuple[int, int, int] = (2, 1, 0),
    signs: tuple[int, int, int] = (1, 1, 1),
) -> Path:
    """Write ``array[k, j, i]`` with its axes in an order and in directions."""
    affine = phantom().affine_lps if affine_lps is None else affine_lps
    turned = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    affine = affine[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    nib.save(nib.Nifti1Image(np.ascontiguousarray(turned), RAS @ affine), path)
    return path


def write_ct(folder: Path, study: str = STUDY_UID) -> Path:
    """Write the phantom's HU as DICOM with a frame of reference."""
    origin = phantom().affine_lps[:3, 3].tolist()

    def change(dataset: pydicom.Dataset, _: int) -> pydicom.Dataset:
        dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.Modality = "CT"
        dataset.FrameOfReferenceUID = "1.2.3.4"
        for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
            setattr(dataset, keyword, "")
        for keyword in ("PatientBirthDate", "PatientSex"):
            setattr(dataset, keyword, "")
        return dataset

    write_series(
        folder, phantom().hu, spacing=(SPACING_MM,) * 3, origin=origin, study=study, series=f"{study}.1", change=change
    )
    return folder


def write_seg(path: Path, ct: Path, kind: str, names: Mapping[str, tuple[CodedConcept, str]]) -> Path:
    """Write the labels as a DICOM segmentation of a CT; `names` are the type and the label of each level's segment."""
    sources = sorted((pydicom.dcmread(file) for file in ct.iterdir()), key=lambda each: each.ImagePositionPatient[2])
    numbers = renumbered({level: number for number, level in enumerate(names, start=1)})
    planes = np.stack([numbers == number for number in range(1, len(names) + 1)], axis=-1)
    descriptions = [
        SegmentDescription(number, label, CodedConcept("123037004", "SCT", "Anatomical Structure"), concept, "MANUAL")
        for number, (concept, label) in enumerate(names.values(), start=1)
    ]
    Segmentation(
        sources,
        planes.astype(np.float32) if kind == "FRACTIONAL" else numbers,
        kind,
        descriptions,
        "1.2.3.5",
        1,
        "1.2.3.6",
        1,
        "maker",
        "model",
        "1",
        "serial",
        fractional_type="PROBABILITY",
    ).save_as(path)
    return path
