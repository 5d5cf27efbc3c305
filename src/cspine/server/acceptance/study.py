"""The study that an acceptance test sends: a phantom, or the site's own intact scan with a virtual fracture."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import CTImageStorage

from cspine.core.errors import InputError
from cspine.core.files import complete_files, output_errors, read_json
from cspine.core.identifiers import derived_uid
from cspine.dicom.codec.header import suppress_pydicom_warnings

PATIENT_ID: Final = "CSPINE-ACCEPTANCE"
PATIENT_NAME: Final = "ACCEPTANCE^TEST"
DESCRIPTION: Final = "cspine acceptance test, no patient"

PHANTOM_SEED: Final = 21
PHANTOM_INDEX: Final = 4
"""A phantom with obvious fractures: compressed bodies of C4 and C6, and a transverse process of C5."""

MIN_VISIBILITY: Final = 0.9
"""Least visibility of a virtual fracture: obvious."""

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpectedFracture:
    """A fracture that the answer should name.

    Attributes
    ----------
    level, fracture_type : str
        Vertebra and type.
    visibility : float
        From 0 to 1; 0.9 is obvious.
    center_lps_mm : tuple of float
        Where it is.
    """

    level: str
    fracture_type: str
    visibility: float
    center_lps_mm: tuple[float, float, float]


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
    return _address(work / "made", work / "sent", run, study.truth)


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
    for folder in sorted((data / "train_images").iterdir()):
        truth = read_json(truth_path(data, folder.name))
        if truth["kind"] == "fracture" and truth["fractures"]:
            return _address(folder, work / "sent", run, truth)
    raise InputError(f"{scan}: no virtual fracture could be inserted; choose another scan, or another --seed")


def _address(made: Path, out: Path, run: str, truth: dict[str, Any]) -> AcceptanceStudy:
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
    return AcceptanceStudy(files, study_uid, _expected(truth["fractures"]))


def _expected(records: Iterable[dict[str, Any]]) -> tuple[ExpectedFracture, ...]:
    fractures = [
        ExpectedFracture(
            level=record["level"],
            fracture_type=record["fracture_type"],
            visibility=record["visibility"],
            center_lps_mm=tuple(record["center_lps_mm"]),
        )
        for record in records
    ]
    return tuple(sorted(fractures, key=lambda each: -each.visibility))
