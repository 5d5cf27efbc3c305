"""Small phantoms in the layouts of other people's data sets: names, numbering and orientations of each."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

from cspine.core.anatomy import OVERALL, SEGMENT_NUMBERS, TARGETS, VERTEBRAE
from cspine.core.typing import Floats, Labels
from cspine.phantom import Crop, PhantomSettings, render_coarse
from cspine.phantom.disorders.settings import NO_DISORDERS
from cspine.phantom.mimics.settings import NO_MIMICS
from tests.support.codecs import SYNTAXES
from tests.support.dicom import write_enhanced, write_series
from tests.support.segmentations import LEVELS, RAS, SPACING_MM, renumbered, write_nifti
from tests.support.segmentations import phantom as intact

CUT = "T2"
"""The vertebra that the border of the phantoms' scans cuts off."""

NAMES = dict(zip(LEVELS, (*range(1, 10),), strict=True))
"""Numbers of RSNA, VerSe and CTSpine1K."""


@cache
def fractured() -> Crop:
    """Return a neck with fractures of several levels, scanned in 2 mm voxels."""
    settings = PhantomSettings(
        prevalence=1.0,
        p_additional_fracture=0.3,
        fracture_width_mm=(2.0, 2.5),
        disorders=NO_DISORDERS,
        mimics=NO_MIMICS,
        tilt_fraction=0.0,
        truncated_fraction=0.0,
        field_of_view_mm=(130.0, 130.0),
    )
    return render_coarse(3, 0, settings, spacing_mm=SPACING_MM)


def truth(crop: Crop, *, without: tuple[str, ...] = ()) -> Labels:
    """Return the vertebrae of a phantom as an import should have them, (k, j, i) toward head, back and left."""
    labels = crop.labels.copy()
    labels[labels > len(LEVELS)] = 0
    for level in without:
        labels[labels == SEGMENT_NUMBERS[level]] = 0
    return labels


def fractured_levels(crop: Crop) -> list[str]:
    """Return the levels that its mask of fractures names."""
    return [level for level in VERTEBRAE if (crop.fracture_level_mask == SEGMENT_NUMBERS[level]).any()]


def write_labels(path: Path, levels_of: dict[str, list[str]]) -> None:
    """Write a table in the form of the challenge's train.csv."""
    lines = [",".join(["StudyInstanceUID", *TARGETS])]
    for study, levels in levels_of.items():
        row = [int(bool(levels)) if target == OVERALL else int(target in levels) for target in TARGETS]
        lines.append(",".join(map(str, [study, *row])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_verse(folder: Path) -> Path:
    """Write VerSe's subject-based structure: a sagittal scan, the cut vertebra unlabeled, centroids in voxels."""
    scan = folder / "dataset-verse20training/rawdata/sub-verse500/sub-verse500_dir-sag_ct.nii.gz"
    derivatives = folder / "dataset-verse20training/derivatives/sub-verse500"
    for each in (scan.parent, derivatives):
        each.mkdir(parents=True)
    order, signs = (1, 0, 2), (1, -1, -1)  # to the back, to the feet, to the right: PIR
    write_nifti(scan, intact().hu, order=order, signs=signs)
    labels = truth(intact(), without=(CUT,))
    write_nifti(derivatives / "sub-verse500_dir-sag_seg-vert_msk.nii.gz", labels, order=order, signs=signs)
    k_max, _, i_max = np.array(labels.shape) - 1
    points: list[dict[str, object]] = [{"direction": ["P", "I", "R"]}]
    for level in LEVELS:
        if level != CUT:
            k, j, i = np.argwhere(labels == NAMES[level]).mean(axis=0).tolist()
            points.append({"label": NAMES[level], "X": j, "Y": k_max - k, "Z": i_max - i})
    (derivatives / "sub-verse500_dir-sag_seg-subreg_ctd.json").write_text(json.dumps(points), encoding="utf-8")
    return folder


def write_verse_challenge(folder: Path) -> Path:
    """Write the files of the MICCAI challenges, of one scan in two of them."""
    for part in ("01_training", "03_test"):
        (folder / part).mkdir(parents=True)
        write_nifti(folder / part / "verse004.nii.gz", intact().hu)
        write_nifti(folder / part / "verse004_seg.nii.gz", truth(intact(), without=(CUT,)))
    return folder


def write_ctspine1k(folder: Path) -> Path:
    """Write CTSpine1K's folders; the cut vertebra is labeled, and a mask has no scan."""
    for name in ("volumes", "labels"):
        (folder / "rawdata" / name / "HNSCC-3DCT-RT").mkdir(parents=True)
    scan = folder / "rawdata/volumes/HNSCC-3DCT-RT/HN_P001_pre.nii.gz"
    write_nifti(scan, intact().hu, signs=(-1, -1, 1))
    labels = truth(intact())
    masks = folder / "rawdata/labels/HNSCC-3DCT-RT"
    write_nifti(masks / "HN_P001_pre_seg.nii.gz", labels, signs=(-1, -1, 1))
    write_nifti(masks / "HN_P002_pre_seg.nii.gz", labels)
    return folder


def write_totalsegmentator(folder: Path, c1: int = 50) -> Path:
    """Write TotalSegmentator's data set: one file for each structure, one case as a label map, one without a neck.

    `c1` is the value of C1 in the label map: 50 of version 2, and 41 of version 1.
    """
    numbers = {level: c1 - position for position, level in enumerate(LEVELS)}
    for case in ("s0001", "s0002", "s0003"):
        (folder / case).mkdir(parents=True)
        write_nifti(folder / case / "ct.nii.gz", intact().hu, signs=(-1, -1, 1))
    for case in ("s0001", "s0003"):
        masks = folder / case / "segmentations"
        masks.mkdir()
        for level in (*LEVELS, "L5"):
            value = renumbered({level: 1}) if level in LEVELS and case == "s0001" else np.zeros_like(intact().labels)
            write_nifti(masks / f"vertebrae_{level}.nii.gz", value, signs=(-1, -1, 1))
        write_nifti(masks / "skull.nii.gz", (intact().labels > len(LEVELS)).astype(np.uint8), signs=(-1, -1, 1))
    write_nifti(folder / "s0002" / "segmentations.nii.gz", renumbered(numbers), signs=(-1, -1, 1))
    rows = ["image_id;age;gender;institute;study_type;split", *(f"s000{n};50;m;A;ct neck;{part}" for n, part in
            ((1, "train"), (2, "test"), (3, "val")))]  # fmt: skip
    (folder / "meta.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Nexus:
    """UIDs of a data set of Health Data Nexus' layout."""

    folder: Path
    fractured: str = "1.2.840.1.1"
    intact: str = "1.2.840.1.2"

    @property
    def mask(self) -> Path:
        """The mask of fractures, beside the scans."""
        return self.folder / "files" / "1_mask.dcm"


def write_hdn(folder: Path) -> Nexus:
    """Write one multi-frame CT for each study, and a DICOM segmentation of the fractures."""
    nexus = Nexus(folder)
    ct = _write_multiframe(folder / "files" / "1.dcm", fractured(), nexus.fractured)
    _write_multiframe(folder / "files" / "2.dcm", intact(), nexus.intact)
    mask = (fractured().fracture_level_mask > 0).astype(np.uint8)
    concept = CodedConcept("72704001", "SCT", "Fracture")
    description = SegmentDescription(
        1, "fracture", CodedConcept("49755003", "SCT", "Morphologically Altered Structure"), concept, "MANUAL"
    )
    Segmentation([pydicom.dcmread(ct)], mask, "BINARY", [description], "1.2.3.5", 1, "1.2.3.6", 1, "maker", "model",
                 "1", "serial").save_as(nexus.mask)  # fmt: skip
    return nexus


def write_dicom(folder: Path, crop: Crop, study: str, *, upward: bool = False) -> Path:
    """Write a phantom as one file for each slice."""
    origin: Floats = crop.affine_lps[:3, 3]

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.PatientID = f"patient of {study}"
        return dataset

    write_series(
        folder,
        crop.hu,
        spacing=(SPACING_MM,) * 3,
        origin=origin.tolist(),
        study=study,
        series=f"{study}.1",
        upward=upward,
        change=change,
    )
    return folder


def _write_multiframe(path: Path, crop: Crop, study: str) -> Path:
    origin = crop.affine_lps[:3, 3].tolist()

    def change(dataset: Dataset) -> None:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.9"
        dataset.PatientID, dataset.FrameOfReferenceUID = f"patient of {study}", f"{study}.8"
        for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
            setattr(dataset, keyword, "")
        for keyword in ("PatientBirthDate", "PatientSex"):
            setattr(dataset, keyword, "")
        for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            place = [origin[0], origin[1], origin[2] + k * SPACING_MM]
            group.PlanePositionSequence[0].ImagePositionPatient = [f"{value:.6g}" for value in place]

    return write_enhanced(path, crop.hu, spacing=(SPACING_MM,) * 3, change=change)


def write_rsna(folder: Path, studies: dict[str, Crop]) -> Path:
    """Write the challenge's layout, with masks of fractures as phantoms and virtual fractures have them."""
    (folder / "fractures").mkdir(parents=True)
    for uid, crop in studies.items():
        write_dicom(folder / "train_images" / uid, crop, uid, upward=uid.endswith("1"))
        if fractured_levels(crop):
            write_nifti(folder / "fractures" / f"{uid}.nii.gz", crop.fracture_level_mask, crop.affine_lps)
    write_labels_and_masks(folder, studies)
    return folder


def write_oblique(path: Path, array: npt.NDArray[Any], affine_lps: Floats, angle_deg: float) -> Path:
    """Write voxels with axes that are turned about the patient's left-right axis."""
    angle = np.deg2rad(angle_deg)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine_lps[:, [2, 1, 0, 3]]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), RAS @ affine), path)
    return path


def write_odd_challenge(folder: Path, count: int = 20) -> Path:
    """Write a challenge of small studies with the oddities of the real one, from two phantoms.

    Of every five studies one runs upward, one is compressed as JPEG Lossless, one lacks a slice, one has 768 x 768 and
    one 512 x 519 pixels. Boxes are repeated, and masks are stored sagittally.
    """
    crops = {f"1.2.9.{number}": (fractured(), intact())[number % 2] for number in range(count)}
    write_labels_and_masks(folder, crops)
    for number, (uid, crop) in enumerate(crops.items()):
        _write_odd_study(folder / "train_images" / uid, crop, uid, number % 5)
    for uid in ("1.2.10.1", "1.2.10.2"):
        _write_odd_study(folder / "test_images" / uid, fractured(), uid, 0)
    return folder


def _write_odd_study(folder: Path, crop: Crop, uid: str, oddity: int) -> None:
    """Write one study; `oddity` is one of 0 to 4, in the order of `write_odd_challenge`."""
    hu, side = crop.hu[::2], SPACING_MM
    shape = {3: (768, 768), 4: (512, 519)}.get(oddity)
    spacing = (1.0 if oddity == 2 else 2 * side, side, side)  # as thin as the challenge's: a lost slice is bridged
    if shape is not None:
        rows, columns = (np.arange(n) * old // n for n, old in zip(shape, hu.shape[1:], strict=True))
        hu = np.ascontiguousarray(hu[::2][:, rows][:, :, columns])
        pixel = side * crop.hu.shape[1] / shape[0]
        spacing = (4 * SPACING_MM, pixel, pixel)
    syntax, encode = ExplicitVRLittleEndian, None
    if oddity == 1:
        syntax, encode = JPEGLosslessSV1, next(each.encode for each in SYNTAXES if each.uid == JPEGLosslessSV1)

    def change(dataset: Dataset, _: int) -> Dataset:
        del dataset.PatientID, dataset.PatientName  # the challenge's headers hold no patient
        return dataset

    origin: Floats = crop.affine_lps[:3, 3]
    paths = write_series(
        folder, hu, spacing=spacing, origin=origin.tolist(), study=uid, series=f"{uid}.1", upward=oddity == 0,
        syntax=syntax, encode=encode, change=change,
    )  # fmt: skip
    if oddity == 2:
        paths[len(paths) // 2].unlink()


def write_labels_and_masks(folder: Path, studies: dict[str, Crop]) -> None:
    """Write the challenge's tables, and its masks as sagittal slices."""
    (folder / "segmentations").mkdir(parents=True, exist_ok=True)
    for uid, crop in studies.items():
        mask = folder / "segmentations" / f"{uid}.nii"
        write_nifti(mask, truth(crop), crop.affine_lps, order=(2, 0, 1), signs=(1, -1, 1))
    write_labels(folder / "train.csv", {uid: fractured_levels(crop) for uid, crop in studies.items()})
    boxes = [f"{uid},10.0,12.0,8.0,6.0,5" for uid, crop in studies.items() if fractured_levels(crop)]
    lines = ["StudyInstanceUID,x,y,width,height,slice_number", *boxes, *boxes]
    (folder / "train_bounding_boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
