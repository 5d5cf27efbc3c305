"""Vertebrae of a segmentation in place of the localizer: the same map of the spine, from masks instead of a network."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.errors import LabelError, NotAssessableError
from cspine.core.findings import NotAssessable, WeightsIdentity
from cspine.localization.loading import load_localizer
from cspine.localization.missing_levels import find_missing_levels
from cspine.localization.scan import Scan
from cspine.localization.segmented.checks import check_bone, check_shape, check_size
from cspine.localization.segmented.label_file import SpineSegmentation, read_spine_segmentation, vertebra_files
from cspine.localization.segmented.label_map import draw_label_map
from cspine.localization.segmented.numbering import Numbering
from cspine.localization.segmented.placed_column import PlacedVertebra, place_vertebrae, template_of
from cspine.spine.mask_frames import VertebraMask
from cspine.spine.occupancy_template import IsInside, OccupancyTemplate
from cspine.spine.spine_map import SpineMap, Vertebra

if TYPE_CHECKING:
    import highdicom

CODE: Final = "unusable-segmentation"
"""Code of studies whose segmentation cannot be read, or is not one of theirs."""

_CUT_CONFIDENCE: Final = 0.9
"""Confidence in the level of a vertebra that is cut off; of others it is 1, because the user's file says so."""

_MIN_INSIDE_FRACTION: Final = 0.98
"""Where less of a vertebra lies in the scan, the segmentation was made on a larger one."""

_MIN_OVERLAP_FRACTION: Final = 0.01
"""Least fraction of all vertebrae that lies in a scan which the segmentation is of."""


@dataclass(frozen=True)
class SegmentedVertebrae:
    """The vertebrae of one study, from a file: a `cspine.localization.compiler.VolumeLocalizer`.

    Attributes
    ----------
    path : Path or None
        A NIfTI file, a DICOM segmentation, or a folder with one NIfTI file for each vertebra; None where there is none.
    numbering : str
        One of `cspine.localization.segmented.numbering.NUMBERINGS`.
    problem : NotAssessable or None
        Why there is none.
    """

    path: Path | None
    numbering: Numbering = "auto"
    problem: NotAssessable | None = None

    def __reduce__(self) -> tuple[type["SegmentedVertebrae"], tuple[Path | None, Numbering, NotAssessable | None]]:
        """Pickle without what was read."""
        return (type(self), (self.path, self.numbering, self.problem))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file; of a folder, of the names and hashes of its files; of nothing where none can be read."""
        try:
            if self.path is not None and not self.path.is_dir():
                return _sha256(self.path)
            files = vertebra_files(self.path).values() if self.path else ()
            lines = [f"{path.name} {_sha256(path)}\n" for path in files]
        except (LabelError, OSError):  # reading it says why
            lines = []
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record in place of the localizer's weights."""
        return WeightsIdentity(
            name="segmentation",
            sha256=self.sha256,
            trained_on="nothing: the vertebrae come from a segmentation file",
            phantom_only=False,
        )

    @cached_property
    def _segmentation(self) -> SpineSegmentation:
        if self.path is None:
            problem = self.problem or NotAssessable(code=CODE, reason="there is no segmentation")
            raise NotAssessableError(problem.code, problem.reason)
        try:
            return read_spine_segmentation(self.path, self.numbering)
        except LabelError as error:
            raise NotAssessableError(CODE, str(error)) from error
        except OSError as error:
            raise NotAssessableError(CODE, f"{self.path.name}: cannot be read; check the path") from error

    def __call__(self, volume: "highdicom.Volume") -> SpineMap:
        """Return the vertebrae of the segmentation in a volume; the map is empty where it has none above L1.

        Raises
        ------
        NotAssessableError
            ``unusable-segmentation``: the file cannot be read, or is not one of this scan; or the code of `problem`.
        """
        segmentation, templates = self._segmentation, occupancy_templates()
        self._check_frame_of_reference(segmentation, volume)
        is_scanned = Scan(volume.array, np.array(volume.affine, np.float64)).covers
        masks = _masks_in(segmentation, is_scanned, templates)
        try:
            check_bone(segmentation.name, masks, volume)
            placed = place_vertebrae(masks, templates)
            check_shape(segmentation.name, placed)
            vertebrae = tuple(_vertebra(each, is_scanned) for each in placed)
            check_size(segmentation.name, vertebrae)
        except LabelError as error:
            raise NotAssessableError(CODE, str(error)) from error
        return SpineMap(
            vertebrae,
            draw_label_map(placed),
            not_found=find_missing_levels(vertebrae, is_scanned),
            warnings=segmentation.warnings,
        )

    def _check_frame_of_reference(self, segmentation: SpineSegmentation, volume: "highdicom.Volume") -> None:
        uids = segmentation.frame_of_reference_uid, volume.frame_of_reference_uid
        if None not in uids and uids[0] != uids[1]:
            raise NotAssessableError(
                CODE,
                f"{segmentation.name}: has another FrameOfReferenceUID than the scan, so that positions differ; "
                "give the segmentation of this scan",
            )


def occupancy_templates() -> Mapping[str, OccupancyTemplate]:
    """Return the mean occupancy of vertebrae by level, of the embedded localizer's metadata."""
    return load_localizer().weights.metadata.occupancy_templates


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _masks_in(
    segmentation: SpineSegmentation, is_scanned: IsInside, templates: Mapping[str, OccupancyTemplate]
) -> dict[str, VertebraMask]:
    """Return the masks of cervical and thoracic vertebrae that lie in the scan, at least partly."""
    masks, n_inside, n_total = dict[str, VertebraMask](), 0.0, 0.0
    for level, mask in segmentation.masks.items():
        points, occupancy = mask.points_lps_mm()
        inside = float(occupancy[is_scanned(points)].sum())
        n_inside, n_total = n_inside + inside, n_total + float(occupancy.sum())
        if inside > 0.0 and template_of(level, templates) is not None:
            is_within = inside >= _MIN_INSIDE_FRACTION * float(occupancy.sum())
            masks[level] = mask.restricted(is_scanned) if is_within else mask
    if n_inside < _MIN_OVERLAP_FRACTION * n_total:
        raise NotAssessableError(
            CODE, f"{segmentation.name}: its vertebrae lie outside the scan; give the segmentation of this scan"
        )
    return masks


def _vertebra(placed: PlacedVertebra, is_scanned: IsInside) -> Vertebra:
    """Measure a vertebra; centroid and volume are of the scanned part."""
    pose, mask = placed.fit.pose, placed.mask
    points, occupancy = mask.points_lps_mm()
    inside = is_scanned(points)
    is_cut = mask.is_cut or not bool(inside.all())
    inverse = np.linalg.inv(pose.frame_lps)
    own = points @ inverse[:3, :3].T + inverse[:3, 3]
    half_mm = float(np.linalg.norm(mask.affine_lps[:3, :3], axis=0).mean()) / 2
    box_mm = np.percentile(own, [1, 99], axis=0) + np.array([[-half_mm], [half_mm]])
    fraction = 1.0
    if is_cut:
        fraction = placed.template.scanned_fraction(pose.scaled_frame_lps, is_scanned)
        low, high = placed.template.box_mm
        size = np.exp(pose.log_size)
        box_mm = np.array([np.minimum(box_mm[0], low * size), np.maximum(box_mm[1], high * size)])
    return Vertebra(
        level=placed.level,
        frame_lps=pose.frame_lps,
        centroid_lps_mm=np.average(points[inside], axis=0, weights=occupancy[inside]),
        box_mm=box_mm,
        scanned_fraction=fraction,
        confidence=_CUT_CONFIDENCE if is_cut else 1.0,
        volume_mm3=float(occupancy[inside].sum() * abs(np.linalg.det(mask.affine_lps[:3, :3]))),
    )
