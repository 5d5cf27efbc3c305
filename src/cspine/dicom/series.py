"""Studies and series, as described by the headers of their files."""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cspine.core.errors import DicomError, GeometryError
from cspine.core.typing import Floats
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import (
    MAX_ORIENTATION_JITTER_DEG,
    Stack,
    mean_orientation,
    orientation_jitter_deg,
    stack_slices,
)


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not read.

    Attributes
    ----------
    name : str
        The file's path below the source.
    reason : str
        Why it is not read.
    is_lost : bool
        Whether it most likely held slices of the study that it belongs to.
    """

    name: str
    reason: str
    is_lost: bool = False


@dataclass(frozen=True)
class Series:
    """Images of one series that share size, orientation, pixel spacing, acquisition and reconstruction.

    Attributes
    ----------
    study_instance_uid, series_instance_uid : str
        Their UIDs; empty where the files lack them.
    headers : tuple of SliceHeader
        One for each image, sorted by file name; `stack` sorts them by position.
    part : int
        0, or the number of the part where one series holds several stacks of images.
    warnings : tuple of str
        Sentences about how its files were grouped, which belong into the findings.
    shared_uids : frozenset of str
        SOPInstanceUIDs of its images that images of other series of the study have, too.
    """

    study_instance_uid: str
    series_instance_uid: str
    headers: tuple[SliceHeader, ...] = field(repr=False)
    part: int = 0
    warnings: tuple[str, ...] = ()
    shared_uids: frozenset[str] = field(default=frozenset(), repr=False)

    @cached_property
    def stack(self) -> Stack:
        """The geometry of the slices.

        Raises
        ------
        DicomError
            Position, orientation or pixel spacing is missing.
        GeometryError
            The directions or spacings are not those of a stack of slices, or all slices lie at one place.
        """
        first = self.headers[0]
        self._check_placed()
        orientations = np.array([header.orientation for header in self.headers])
        jitter_deg = float(orientation_jitter_deg(orientations).max())
        if jitter_deg > MAX_ORIENTATION_JITTER_DEG:
            raise GeometryError(
                f"{first.file.name}: the orientation of its series' slices varies by {jitter_deg:.1f} degrees, in one "
                f"stack by at most {MAX_ORIENTATION_JITTER_DEG}; export the original series"
            )
        try:
            stack = stack_slices(
                np.array([header.position_mm for header in self.headers]),
                mean_orientation(orientations),
                first.pixel_spacing_mm or (1.0, 1.0),
            )
        except GeometryError as error:
            raise GeometryError(f"{first.file.name}: {error}") from error
        if len(self.headers) > 1 and len(stack.order) == 1:
            raise GeometryError(
                f"{first.file.name}: {len(self.headers)} slices at one place, since ImagePositionPatient is alike in "
                "all of them; export the original series"
            )
        return stack

    @cached_property
    def ambiguous_uids(self) -> frozenset[str]:
        """SOPInstanceUIDs that do not name one image, since images at other places or of other series have them, too.

        Nothing may refer to an image by such a UID. Copies of one image do not make its UID ambiguous.
        """
        places: dict[tuple[str, int], set[object]] = defaultdict(set)
        for header in self.headers:
            places[header.sop_instance_uid, header.frame].add(header.position_mm or header.file.name)
        repeated = {uid for (uid, _), at in places.items() if uid and len(at) > 1}
        return self.shared_uids | repeated

    @cached_property
    def ambiguous_numbers(self) -> frozenset[int | None]:
        """InstanceNumbers that several slices of the stack have."""
        counts = Counter(self.headers[index].instance_number for index in self.stack.order)
        return frozenset(number for number, count in counts.items() if count > 1)

    def nearest_slice(self, point_lps_mm: Floats) -> SliceHeader:
        """Return the header of the slice whose plane is nearest to a point.

        Parameters
        ----------
        point_lps_mm : (3,)
            A point in LPS mm.
        """
        stack = self.stack
        along_mm = (point_lps_mm - stack.origin_mm) @ stack.normal
        nearest = int(stack.order[int(np.argmin(np.abs(stack.along_mm - along_mm)))])
        return self.headers[nearest]

    def _check_placed(self) -> None:
        """Check that every slice has a position, an orientation, a pixel spacing and a size."""
        missing = {
            "PixelSpacing": [header.pixel_spacing_mm is None for header in self.headers],
            "ImageOrientationPatient": [header.orientation is None for header in self.headers],
            "ImagePositionPatient": [header.position_mm is None for header in self.headers],
            "Rows and Columns": [not (header.rows and header.columns) for header in self.headers],
        }
        for tag, is_missing in missing.items():
            lacking = list(itertools.compress(self.headers, is_missing))
            if lacking:
                rest = f" ({len(lacking) - 1} more of its series lack it)" if len(lacking) > 1 else ""
                raise DicomError(
                    f"{lacking[0].file.name}: {tag} is missing, so the image cannot be placed in space{rest}; export "
                    "the original series"
                )

    @property
    def bytes(self) -> int:
        """Size of all its files, in bytes."""
        return sum(file.size for file in {header.file for header in self.headers})


@dataclass(frozen=True)
class Study:
    """The series of one study.

    Attributes
    ----------
    study_instance_uid : str
        StudyInstanceUID; empty where the files lack it.
    series : tuple of Series
        All series of the study; at least one.
    skipped : tuple of SkippedFile
        Files that belong to the study, or lie beside its files, and are not read.
    warnings : tuple of str
        Sentences about the study as a whole, such as files that could not be read; they belong into its findings.
    """

    study_instance_uid: str
    series: tuple[Series, ...]
    skipped: tuple[SkippedFile, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lost_files(self) -> tuple[SkippedFile, ...]:
        """Files that most likely held slices of the study and could not be read."""
        return tuple(file for file in self.skipped if file.is_lost)

    @property
    def patient_id(self) -> str | None:
        """PatientID of the first file that has one. It is personal: hash it before it is stored or logged."""
        return next((h.patient_id for s in self.series for h in s.headers if h.patient_id), None)


@dataclass(frozen=True)
class Discovery:
    """What a path holds.

    Attributes
    ----------
    studies : tuple of Study
        All studies that were found; at least one.
    skipped : tuple of SkippedFile
        Files that are not images, or that cannot be read.
    """

    studies: tuple[Study, ...]
    skipped: tuple[SkippedFile, ...]
