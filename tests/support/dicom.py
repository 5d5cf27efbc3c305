"""Small CT series on disk, right or broken in a chosen way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY = "1.2.826.0.1.3680043.8.498.1"
Pixels = npt.NDArray[np.int16]


def neck(shape: tuple[int, int, int] = (40, 48, 56), spacing: tuple[float, float, float] = (3.0, 2.0, 2.0)) -> Pixels:
    """Return a smooth soft-tissue neck with one bony column whose centre is off the image's middle.

    The column stands 10 mm to the patient's left of the field's centre; a bright marker sits at its top, front, left.
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
    hu: Pixels,
    *,
    spacing: tuple[float, float, float] = (3.0, 2.0, 2.0),
    directions: Sequence[Sequence[float]] = ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    origin: Sequence[float] = (-56.0, -48.0, 0.0),
    shear_mm: float = 0.0,
    study: str = STUDY,
    series: str = f"{STUDY}.1",
    upward: bool = True,
    syntax: str = ExplicitVRLittleEndian,
    encode: Callable[[npt.NDArray[np.uint16]], bytes] | None = None,
    change: Callable[[Dataset, int], Dataset | None] = lambda dataset, _: dataset,
) -> list[Path]:
    """Write ``hu[k, j, i]`` as one file per slice and return the paths.

    `directions` are the LPS directions of k, j and i; `shear_mm` moves each further slice down its columns. `change`
    may alter a slice's data set, or drop it by returning None.
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
    pixels: Pixels,
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
