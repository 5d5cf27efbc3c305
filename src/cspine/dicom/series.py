"""Studies and series as their headers tell them."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cspine.core.errors import DicomError, GeometryError
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack, stack_slices


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Series:
    """The images of one series that share size, orientation and pixel spacing.

    Attributes
    ----------
    headers : tuple of SliceHeader
        In the order of their names; place in space is told by `stack`.
    part : int
        0, or the number of the part where one series holds images of several kinds.
    """

    study_instance_uid: str
    series_instance_uid: str
    headers: tuple[SliceHeader, ...] = field(repr=False)
    part: int = 0

    @cached_property
    def stack(self) -> Stack:
        """How the slices lie in space.

        Raises
        ------
        DicomError
            Position, orientation or pixel spacing is missing.
        GeometryError
            The directions or spacings are not those of a stack of slices.
        """
        first = self.headers[0]
        for tag, value in (
            ("PixelSpacing", first.pixel_spacing_mm),
            ("ImageOrientationPatient", first.orientation),
            ("ImagePositionPatient", all(header.position_mm for header in self.headers) or None),
            ("Rows and Columns", (first.rows and first.columns) or None),
        ):
            if value is None:
                raise DicomError(
                    f"{first.file.name}: {tag} is missing, so the image cannot be placed in space; export the "
                    "original series"
                )
        try:
            return stack_slices(
                np.array([header.position_mm for header in self.headers]),
                np.array(first.orientation),
                first.pixel_spacing_mm or (1.0, 1.0),
            )
        except GeometryError as error:
            raise GeometryError(f"{first.file.name}: {error}") from error

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size for file in {header.file for header in self.headers})


@dataclass(frozen=True)
class Study:
    """One study's series."""

    study_instance_uid: str
    series: tuple[Series, ...]

    @property
    def patient_id(self) -> str | None:
        """The PatientID in its files: personal, to be hashed before it goes anywhere."""
        return next((h.patient_id for s in self.series for h in s.headers if h.patient_id), None)


@dataclass(frozen=True)
class Discovery:
    """What a path holds."""

    studies: tuple[Study, ...]
    skipped: tuple[SkippedFile, ...]
