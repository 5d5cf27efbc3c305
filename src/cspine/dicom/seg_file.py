"""DICOM segmentations: their segments as a label map on voxels of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pydicom

from cspine.core.errors import LabelError, is_memory_error
from cspine.core.typing import Floats, Labels
from cspine.dicom.codec.header import suppress_pydicom_warnings

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_SOP_CLASSES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation and Label Map Segmentation Storage."""

_MIN_FRACTION: Final = 0.5
"""Voxels belong to a segment of a fractional segmentation from this fraction on."""


class Concept(NamedTuple):
    """A coded concept."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Segment:
    """A segment by its description.

    Attributes
    ----------
    number : int
        SegmentNumber.
    label : str
        SegmentLabel.
    types : tuple of Concept
        What it is: SegmentedPropertyTypeCodeSequence.
    regions : tuple of Concept
        Where it is: AnatomicRegionSequence.
    """

    number: int
    label: str
    types: tuple[Concept, ...]
    regions: tuple[Concept, ...]


class SegFile:
    """A DICOM segmentation: BINARY, FRACTIONAL or LABELMAP.

    Parameters
    ----------
    path : Path
        A DICOM file.

    Raises
    ------
    LabelError
        The file is damaged, or no segmentation.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._segmentation = _open(path)

    @property
    def frame_of_reference_uid(self) -> str | None:
        """FrameOfReferenceUID of its positions; None where it has none."""
        uid = self._segmentation.get("FrameOfReferenceUID")
        return str(uid) if uid else None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its segments."""
        return tuple(_describe(item) for item in self._segmentation.SegmentSequence)

    def read(self, numbers: Sequence[int]) -> tuple[Floats, Labels]:
        """Return segments as one label map.

        Parameters
        ----------
        numbers : sequence of int
            SegmentNumbers, at most 255. Where segments overlap, the last one is taken.

        Returns
        -------
        affine_lps : (4, 4)
            From ``[k, j, i, 1]`` to LPS mm.
        labels : (k, j, i) uint8
            Position in `numbers`, from 1 on; 0 elsewhere.

        Raises
        ------
        LabelError
            The frames are damaged, or do not form a volume.
        """
        try:
            if self._segmentation.SegmentationType == "FRACTIONAL":
                return self._read_fractional(numbers)
            volume = self._segmentation.get_volume(
                segment_numbers=list(numbers),
                combine_segments=True,
                relabel=True,
                skip_overlap_checks=True,
                dtype=np.uint8,
            )
        except Exception as error:
            if is_memory_error(error):
                raise
            raise LabelError(
                f"{self._name}: its frames form no volume, or are damaged ({type(error).__name__}); export it again"
            ) from error
        return np.array(volume.affine, np.float64), np.asarray(volume.array)

    def _read_fractional(self, numbers: Sequence[int]) -> tuple[Floats, Labels]:
        """Return the segments of a fractional segmentation, one after the other to bound memory."""
        affine, labels = np.eye(4), np.zeros((0, 0, 0), np.uint8)
        for value, number in enumerate(numbers, start=1):
            volume = self._segmentation.get_volume(segment_numbers=[number])
            fraction = volume.array[..., 0]
            if not labels.size:
                affine, labels = np.array(volume.affine, np.float64), np.zeros(fraction.shape, np.uint8)
            labels[fraction >= _MIN_FRACTION] = value
        return affine, labels


def seg_study_uid(path: Path) -> str | None:
    """Return the StudyInstanceUID of a DICOM segmentation, from its header; None of other files."""
    try:
        with suppress_pydicom_warnings():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "StudyInstanceUID"])
    except Exception:  # noqa: BLE001 - pydicom raises errors of any type on files that are no DICOM
        return None
    return str(header.get("StudyInstanceUID", "")) or None if header.get("SOPClassUID") in _SOP_CLASSES else None


def _open(path: Path) -> "Segmentation":
    from highdicom.seg import Segmentation  # noqa: PLC0415 - it loads slowly

    try:
        with suppress_pydicom_warnings():
            dataset = pydicom.dcmread(path)
            if dataset.get("SOPClassUID") in _SOP_CLASSES:
                return Segmentation.from_dataset(dataset, copy=False)
    except Exception as error:
        if is_memory_error(error):
            raise
        raise LabelError(
            f"{path.name}: is no readable DICOM segmentation ({type(error).__name__}); give NIfTI or DICOM SEG"
        ) from error
    raise LabelError(f"{path.name}: is no DICOM segmentation; give NIfTI or DICOM SEG")


def _describe(item: pydicom.Dataset) -> Segment:
    """Return what a segment is by its description."""
    return Segment(
        int(item.SegmentNumber),
        str(item.get("SegmentLabel") or ""),
        _concepts(item, "SegmentedPropertyTypeCodeSequence"),
        _concepts(item, "AnatomicRegionSequence"),
    )


def _concepts(item: pydicom.Dataset, sequence: str) -> tuple[Concept, ...]:
    names = ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
    return tuple(Concept(*(str(each.get(name) or "") for name in names)) for each in item.get(sequence) or [])
