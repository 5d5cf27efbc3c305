"""A phantom study as DICOM files with headers like the challenge's: nearly empty for most, full for some."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from cspine.phantom.scanner import PhantomStudy


@dataclass(frozen=True)
class Identity:
    """What names a study: made from seed and index, so that the same study always has the same UIDs."""

    seed: int
    index: int

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID; PatientID too, as in the challenge."""
        return self._uid("study")

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

    def _uid(self, what: str) -> str:
        return generate_uid(entropy_srcs=["cspine phantom", str(self.seed), str(self.index), what])


def instance_numbers(count: int, *, upward: bool) -> list[int]:
    """Return the instance number of each slice from the feet up."""
    return list(range(1, count + 1)) if upward else list(range(count, 0, -1))


def write_slices(study: PhantomStudy, identity: Identity, folder: Path, *, upward: bool, full_header: bool) -> None:
    """Write one file per slice, named after its instance number.

    Parameters
    ----------
    study : PhantomStudy
        What to write.
    identity : Identity
        Gives the UIDs.
    folder : Path
        Is made; must not hold slices yet.
    upward : bool
        Whether instance numbers rise towards the head.
    full_header : bool
        Whether to write what scanners write and the challenge leaves out.
    """
    folder.mkdir(parents=True)
    for k, number in enumerate(instance_numbers(len(study.hu), upward=upward)):
        dataset = _dataset(study, identity, k, number)
        if full_header:
            _complete(dataset, identity)
        pydicom.dcmwrite(folder / f"{number}.dcm", dataset, enforce_file_format=True)


def _dataset(study: PhantomStudy, identity: Identity, k: int, number: int) -> Dataset:
    affine = study.affine_lps
    position = affine @ [k, 0, 0, 1]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(identity.sop_uid(number))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPInstanceUID = identity.sop_uid(number)
    dataset.PatientID = identity.study_uid
    dataset.StudyInstanceUID = identity.study_uid
    dataset.PatientName = "PHANTOM"
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SliceThickness = f"{affine[2, 0]:.6g}"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in position[:3]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [f"{affine[1, 1]:.8g}", f"{affine[0, 2]:.8g}"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = study.hu.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth = 500, 2000
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = (study.hu[k].astype(np.int32) + 1024).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _complete(dataset: Dataset, identity: Identity) -> None:
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer = "cspine phantom"
    dataset.BodyPartExamined = "CSPINE"
    dataset.PatientPosition = "HFS"
    dataset.KVP = 120
    dataset.ConvolutionKernel = "BONE"
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.SeriesNumber = 1
