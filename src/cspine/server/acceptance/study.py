"""The study that an acceptance test sends: a phantom, or the site's own intact scan with a virtual fracture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from cspine.core.errors import InputError
from cspine.core.files import complete_files, output_errors, read_json
from cspine.core.identifiers import derived_uid
from cspine.core.typing import Floats, Labels
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.nifti.files import nibabel_module
from cspine.dicom.study_collection import FRACTURES_FOLDER, IMAGE_FOLDERS

PATIENT_ID: Final = "CSPINE-ACCEPTANCE"
PATIENT_NAME: Final = "ACCEPTANCE^TEST"
DESCRIPTION: Final = "cspine acceptance test, no patient"

PHANTOM_SEED: Final = 21
PHANTOM_INDEX: Final = 4
"""A phantom with obvious fractures: compressed bodies of C4 and C6, and a transverse process of C5."""

MIN_VISIBILITY: Final = 0.9
"""Least visibility of a virtual fracture: obvious."""

_MAX_POINTS: Final = 1000


@dataclass(frozen=True)
class ExpectedFracture:
    """A fracture that the answer should name.

    Attributes
    ----------
    level, fracture_type : str
        Vertebra and type.
    visibility : float
        From 0 to 1; 0.9 is obvious.
    points_lps_mm : (n, 3)
        Voxels of it: a fracture of both sides has no center.
    """

    level: str
    fracture_type: str
    visibility: float
    points_lps_mm: Floats

    def distance_mm(self, point_lps_mm: Sequence[float]) -> float:
        """Return the distance of a point from the fracture."""
        return float(np.linalg.norm(self.points_lps_mm - np.asarray(point_lps_mm), axis=1).min())


@dataclass(frozen=True)
class AcceptanceStudy:
    """A study with its truth.

    Attributes
    ----------
    files : list of Path
        One file for each slice.
    study_uid : str
        New in every run, so that no earlier answer is taken for this one's.
    fractures : tuple of ExpectedFracture
        The most visible first.
    """

    files: list[Path]
    study_uid: str
    fractures: tuple[ExpectedFracture, ...]


def make_phantom(work: Path, run: str) -> AcceptanceStudy:
    """Return a phantom with obvious fractures, sharp and without artifacts; rendering it takes 5 s to 15 s.

    Parameters
    ----------
    work : Path
        Folder for the files.
    run : str
        Distinguishes this run; UIDs are derived from it.
    """
    from cspine.phantom.scanner.dicom import Identity, WriteOptions, write_slices  # noqa: PLC0415 - scipy
    from cspine.phantom.settings import PhantomSettings  # noqa: PLC0415
    from cspine.phantom.study import render_study  # noqa: PLC0415

    settings = PhantomSettings(
        prevalence=1.0, matrix=256, slice_spacing_mm=(1.0, 1.0), noise_hu=(15.0, 15.0), soft_fraction=0.0,
        sharp_fraction=0.0, adaptive_fraction=0.0, tilt_fraction=0.0, motion_fraction=0.0, truncated_fraction=0.0,
    )  # fmt: skip
    study = render_study(PHANTOM_SEED, PHANTOM_INDEX, settings)
    options = WriteOptions(upward=True, full_header=True, compressed=False)
    with output_errors(work):
        write_slices(study, Identity(PHANTOM_SEED, PHANTOM_INDEX), work / "made", options)
    fractures = _expected(study.truth["fractures"], study.fracture_mask, study.affine_lps)
    return _address(work / "made", work / "sent", run, fractures)


def make_virtual(scan: Path, work: Path, run: str, *, seed: int = 0, vertebrae: Path | None = None) -> AcceptanceStudy:
    """Return a scan with an obvious virtual fracture.

    Parameters
    ----------
    scan : Path
        A study of the site without fractures.
    work : Path
        Folder for the files.
    run : str
        As of `make_phantom`.
    seed : int
        The same seed gives the same fracture.
    vertebrae : Path, optional
        Segmentation in the localizer's place.

    Raises
    ------
    InputError, NotAssessableError
        The scan cannot be used.
    """
    from cspine.insertion.settings import InsertionSettings  # noqa: PLC0415 - pandas
    from cspine.phantom.rsna_files import truth_path  # noqa: PLC0415
    from cspine.pipelines.insert import insert_fractures  # noqa: PLC0415

    settings = InsertionSettings(min_visibility=MIN_VISIBILITY, vertebrae_per_study={1: 1.0})
    data = work / "virtual"
    insert_fractures(scan, data, settings, seed=seed, with_intact=False, vertebrae=vertebrae)
    for folder in sorted((data / IMAGE_FOLDERS[0]).iterdir()):
        truth = read_json(truth_path(data, folder.name))
        if truth["kind"] == "fracture" and truth["fractures"]:
            mask, affine_lps = _read_mask(data / FRACTURES_FOLDER / f"{folder.name}.nii.gz")
            return _address(folder, work / "sent", run, _expected(truth["fractures"], mask, affine_lps))
    raise InputError(f"{scan}: no virtual fracture could be inserted; choose another scan, or another --seed")


def _address(made: Path, out: Path, run: str, fractures: tuple[ExpectedFracture, ...]) -> AcceptanceStudy:
    """Write slices with new UIDs, as of no patient."""
    out.mkdir(parents=True)
    now = datetime.now().astimezone()
    study_uid = derived_uid("cspine acceptance", run, "study")
    files = []
    for path in complete_files(made, "*.dcm"):
        with suppress_pydicom_warnings():
            dataset = dcmread(path)
            dataset.SOPClassUID = CTImageStorage
            dataset.Modality = "CT"
            dataset.StudyInstanceUID = study_uid
            dataset.SeriesInstanceUID = derived_uid("cspine acceptance", run, "series")
            dataset.FrameOfReferenceUID = derived_uid("cspine acceptance", run, "frame")
            dataset.SOPInstanceUID = derived_uid("cspine acceptance", run, str(dataset.SOPInstanceUID))
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.PatientID, dataset.PatientName = PATIENT_ID, PATIENT_NAME
            dataset.AccessionNumber = ""
            dataset.StudyDescription = DESCRIPTION
            dataset.StudyDate, dataset.StudyTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
            with output_errors(out):
                dataset.save_as(out / path.name)
        files.append(out / path.name)
    return AcceptanceStudy(files, study_uid, fractures)


def _expected(records: Iterable[dict[str, Any]], mask: Labels, affine_lps: Floats) -> tuple[ExpectedFracture, ...]:
    """Return fractures with their voxels, the most visible first."""
    fractures = []
    for record in records:
        voxels = np.argwhere(mask == record["mask_value"])
        voxels = voxels[:: len(voxels) // _MAX_POINTS + 1]
        points = voxels @ affine_lps[:3, :3].T + affine_lps[:3, 3]
        fractures.append(ExpectedFracture(record["level"], record["fracture_type"], record["visibility"], points))
    return tuple(sorted(fractures, key=lambda each: -each.visibility))


def _read_mask(path: Path) -> tuple[Labels, Floats]:
    """Return a label map of a virtual study with its affine in LPS."""
    image = nibabel_module().load(path)
    return np.asanyarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine)
