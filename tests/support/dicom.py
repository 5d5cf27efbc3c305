"""Write small CT series to disk, valid or with a defect made by a callback."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from cspine.core.typing import HounsfieldUnits

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"


def make_hu(
    shape: tuple[int, int, int] = (40, 48, 56), spacing: tuple[float, float, float] = (3.0, 2.0, 2.0)
) -> HounsfieldUnits:
    """Return the HU of a soft-tissue cylinder with one bony column, which has no symmetry.

    The column lies 10 mm to the patient's left of the field's center; a bright marker lies at its top, front and left.
    """
    k, j, i = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    y, x = (j - shape[1] / 2) * spacing[1], (i - shape[2] / 2) * spacing[2]
    hu = np.where(np.hypot(x, y) < 45.0, 40.0, -1000.0)
    for side in (-18.0, 18.0):
        hu[np.hypot(x - 10.0 - side, y) < 7.0] = 700.0
    hu[np.hypot(x - 10.0, y + 8.0) < 9.0] = 600.0
    hu[(k > shape[0] * 0.8) & (np.abs(y + 30.0) < 4.0) & (np.abs(x - 24.0) < 4.0)] = 1500.0
    return np.rint(hu).astype(np.int16)


def write_series(
    folder: Path,
    hu: HounsfieldUnits,
    *,
    spacing: tuple[float, float, float] = (3.0, 2.0, 2.0),
    directions: Sequence[Sequence[float]] = ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    origin: Sequence[float] = (-56.0, -48.0, 0.0),
    shear_mm: float = 0.0,
    study: str = STUDY_UID,
    series: str = f"{STUDY_UID}.1",
    upward: bool = True,
    syntax: str = ExplicitVRLittleEndian,
    encode: Callable[[npt.NDArray[np.uint16]], bytes] | None = None,
    change: Callable[[Dataset, int], Dataset | None] = lambda dataset, _: dataset,
) -> list[Path]:
    """Write ``hu[k, j, i]`` as one file per slice and return the paths.

    `directions` are the LPS directions of k, j and i; `shear_mm` shifts each slice down its columns relative to the one
    before. `change` may alter a slice's data set, or drop the slice by returning None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axis_k, axis_j, axis_i = (np.asarray(direction, dtype=float) for direction in directions)
    paths = []
    for k in range(len(hu)):
        position = np.asarray(origin) + axis_k * spacing[0] * k + axis_j * shear_mm * k
        number = k + 1 if upward else len(hu) - k
        dataset = _slice(hu[k], position, (*axis_i, *axis_j), spacing, number, study, series)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(syntax)
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta = meta
        if encode is not None:
            dataset.PixelData = encapsulate([encode((hu[k] + 1024).astype(np.uint16))])
            dataset["PixelData"].VR = "OB"
        changed = change(dataset, k)
        if changed is None:
            continue
        path = folder / f"{number}.dcm"
        dcmwrite(path, changed, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(
    pixels: HounsfieldUnits,
    position: npt.NDArray[Any],
    orientation: tuple[float, ...],
    spacing: tuple[float, float, float],
    number: int,
    study: str,
    series: str,
) -> Dataset:
    dataset = Dataset()
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.PatientID = "somebody"
    dataset.PatientName = "Some^Body"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.6g}" for value in orientation]
    dataset.PixelSpacing = [spacing[1], spacing[2]]
    dataset.SliceThickness = spacing[0]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = (pixels + 1024).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def write_enhanced(
    path: Path,
    hu: HounsfieldUnits,
    *,
    spacing: tuple[float, float, float] = (3.0, 2.0, 2.0),
    order: Sequence[int] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    encode: Callable[[npt.NDArray[np.uint16]], bytes] | None = None,
    change: Callable[[Dataset], None] = lambda _: None,
) -> Path:
    """Write ``hu[k, j, i]`` as one enhanced multi-frame file, with its frames in the given order of k."""
    order = list(order if order is not None else range(len(hu)))
    dataset = _slice(hu[0], np.zeros(3), (1, 0, 0, 0, 1, 0), spacing, 1, STUDY_UID, f"{STUDY_UID}.9")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "RescaleSlope", "RescaleIntercept"):  # fmt: skip
        delattr(dataset, keyword)
    dataset.SOPClassUID, dataset.Modality = EnhancedCTImageStorage, "CT"
    dataset.NumberOfFrames = len(order)
    shared, measures, orientation, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[2]], spacing[0]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1024
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [rescale]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame_group(k, spacing) for k in order]
    stored = [(hu[k] + 1024).astype(np.uint16) for k in order]
    if encode is None:
        dataset.PixelData = b"".join(frame.astype("<u2").tobytes() for frame in stored)
        dataset["PixelData"].VR = "OW"
    else:
        dataset.PixelData = encapsulate([encode(frame) for frame in stored])
        dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    change(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def _frame_group(k: int, spacing: tuple[float, float, float]) -> Dataset:
    group, position, frame_type = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [-56.0, -48.0, k * spacing[0]]
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    group.PlanePositionSequence, group.CTImageFrameTypeSequence = [position], [frame_type]
    return group
