"""Writes a phantom study as DICOM files, with nearly empty headers as in the challenge or with full ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import imagecodecs
import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

from cspine.phantom.scanner.scanner import outside_circle
from cspine.phantom.settings import PhantomSettings
from cspine.phantom.study import PhantomStudy

_MAX_BONE_KERNEL_FWHM_MM: Final = 0.85
"""Kernels with a narrower point spread function are called bone kernels."""

_PADDING: Final = -2000
"""Stored value outside a circular field of view: one that no tissue has, as some vendors use."""

_PER_SLICE: Final = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "SliceLocation", "PixelData")
"""Elements that differ between slices; all others are encoded once."""


class StudyIdentity(Protocol):
    """UIDs of a study, of its patient and of its slices."""

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""

    @property
    def patient_id(self) -> str:
        """PatientID."""

    @property
    def patient_name(self) -> str:
        """PatientName."""

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID of studies with full headers."""

    def sop_uid(self, number: int) -> str:
        """Return the SOPInstanceUID of the slice with this instance number."""


@dataclass(frozen=True)
class Identity:
    """UIDs of a study, derived from seed, index and domain: the same study always has the same UIDs.

    Attributes
    ----------
    seed, index : int
        Seed of the data set, and index of the study in it.
    domain : str
        Name of the domain.
    """

    seed: int
    index: int
    domain: str = "source"

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID, and PatientID as in the challenge."""
        return self._uid("study")

    @property
    def patient_id(self) -> str:
        """PatientID."""
        return self.study_uid

    @property
    def patient_name(self) -> str:
        """PatientName."""
        return "PHANTOM"

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self._uid("series")

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID of studies with full headers."""
        return self._uid("frame")

    def sop_uid(self, number: int) -> str:
        """SOPInstanceUID of the slice with this instance number."""
        return self._uid(f"slice {number}")

    def _uid(self, entity: str) -> str:
        domain = {"source": [], "shifted": ["hidden"]}[self.domain]  # the name that UIDs were first made with
        return generate_uid(entropy_srcs=["cspine phantom", *domain, str(self.seed), str(self.index), entity])


def instance_numbers(count: int, *, upward: bool) -> list[int]:
    """Return the instance numbers of slices in caudo-cranial order, ascending cranially where `upward`."""
    return list(range(1, count + 1)) if upward else list(range(count, 0, -1))


@dataclass(frozen=True)
class WriteOptions:
    """Options of the files of a study.

    Attributes
    ----------
    upward : bool
        Whether instance numbers increase cranially.
    full_header : bool
        Whether to write the elements that scanners write and the challenge has removed.
    compressed : bool
        Whether pixels are compressed as JPEG Lossless.
    """

    upward: bool
    full_header: bool
    compressed: bool


def draw_write_options(rng: np.random.Generator, settings: PhantomSettings) -> WriteOptions:
    """Draw the options of the files of a study."""
    upward, full, compressed = rng.random(3).tolist()
    return WriteOptions(
        upward=upward < settings.upward_fraction,
        full_header=full < settings.full_header_fraction,
        compressed=compressed < settings.jpeg_lossless_fraction,
    )


def write_slices(study: PhantomStudy, identity: StudyIdentity, folder: Path, options: WriteOptions) -> None:
    """Write one file per slice, named by its instance number.

    Parameters
    ----------
    study : PhantomStudy
        The rendered study that is written.
    identity : StudyIdentity
        UIDs of the study.
    folder : Path
        Must not exist; it is created.
    options : WriteOptions
        Order, header and compression of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = _minimal_dataset(study, identity)
    if options.full_header:
        _add_full_header(dataset, study, identity)
    shared: dict[int, bytes] = {}
    for k, number in enumerate(instance_numbers(len(study.hu), upward=options.upward)):
        _set_slice(dataset, study, k, number, identity.sop_uid(number))
        if options.compressed:
            _compress(dataset)
        shared = shared or {
            element.tag: _encode_element(element) for element in dataset if element.keyword not in _PER_SLICE
        }
        own = {dataset[keyword].tag: _encode_element(dataset[keyword]) for keyword in _PER_SLICE if keyword in dataset}
        elements = [encoded for _, encoded in sorted((shared | own).items())]
        (folder / f"{number}.dcm").write_bytes(b"".join([_preamble(dataset), *elements]))


def _preamble(dataset: Dataset) -> bytes:
    """Return the preamble, prefix and file meta information of a file (PS3.10 section 7.1)."""
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, dataset.file_meta, enforce_standard=True)
    return b"\0" * 128 + b"DICM" + buffer.getvalue()


def _encode_element(element: DataElement) -> bytes:
    """Return an element as encoded in a file."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element)
    return buffer.getvalue()


def _minimal_dataset(study: PhantomStudy, identity: StudyIdentity) -> Dataset:
    """Return the data set that all slices share, with the elements of the challenge."""
    affine = study.affine_lps
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PatientID = identity.patient_id
    dataset.StudyInstanceUID = identity.study_uid
    dataset.PatientName = identity.patient_name
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SliceThickness = f"{study.thickness_mm:.6g}"
    rows, columns = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (1, 2))
    dataset.ImageOrientationPatient = [f"{value + 0.0:.6g}" for value in (*columns, *rows)]
    dataset.PixelSpacing = [f"{np.linalg.norm(affine[:3, axis]):.8g}" for axis in (1, 2)]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = study.hu.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth = 500, 2000
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    return dataset


def _set_slice(dataset: Dataset, study: PhantomStudy, k: int, number: int, sop_uid: str) -> None:
    """Set the elements of slice k in a data set."""
    position = study.affine_lps @ [k, 0, 0, 1]
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    dataset.SOPInstanceUID = sop_uid
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in position[:3]]
    if "SliceLocation" in dataset:
        dataset.SliceLocation = f"{position[2]:.6g}"
    stored = study.hu[k].astype(np.int32) + 1024
    if "PixelPaddingValue" in dataset:
        stored[outside_circle(study.hu.shape[1:])] = _PADDING
    dataset.PixelData = stored.astype("<i2" if dataset.PixelRepresentation else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _compress(dataset: Dataset) -> None:
    """Compress the pixels of a data set as JPEG Lossless."""
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    frame = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _add_full_header(dataset: Dataset, study: PhantomStudy, identity: StudyIdentity) -> None:
    """Add the elements that scanners write and the challenge has removed."""
    person, scanner = study.truth["person"], study.truth["scanner"]
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer = "cspine phantom"
    dataset.BodyPartExamined = "CSPINE"
    dataset.PatientPosition = "HFS"
    dataset.PatientSex, dataset.PatientAge = person["sex"], f"{int(person['age_years']):03d}Y"
    dataset.PatientBirthDate = dataset.StudyDate = dataset.StudyTime = ""
    dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
    dataset.KVP = 120
    dataset.ConvolutionKernel = "BONE" if scanner["blur_mm"] < _MAX_BONE_KERNEL_FWHM_MM else "STANDARD"
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber, dataset.AcquisitionNumber = 1, 1
    dataset.SliceLocation = ""
    dataset.GantryDetectorTilt = f"{np.degrees(np.arcsin(float(dataset.ImageOrientationPatient[5]))):.6g}"
    if study.round_field:
        dataset.PixelRepresentation = 1
        dataset.PixelPaddingValue = _PADDING
        dataset["PixelPaddingValue"].VR = "SS"
