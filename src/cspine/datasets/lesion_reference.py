"""Reference locations of fractures, and whether a mark hits one."""

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import pandas as pd

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.files import read_json
from cspine.core.typing import Floats
from cspine.dicom.segmentation import read_label_map
from cspine.views.fracture_labels import UNSPECIFIED_LEVEL

HIT_DISTANCE_MM: Final = 5.0
"""A mark within this distance of a fracture hits it."""

BOX_SLICE_MARGIN: Final = 2
"""Slices beside a bounding box that still count as within it, since its first and last slice were chosen by eye."""

_MAX_POINTS: Final = 4_000
"""Points kept per fracture; those of the largest fractures are then 1 mm apart."""


class Mark(NamedTuple):
    """A location that a model reports for a vertebra.

    Attributes
    ----------
    study, level : str
        StudyInstanceUID, and C1 to C7.
    x_lps_mm, y_lps_mm, z_lps_mm : float
        Point in the patient, LPS in mm; NaN where it is not known.
    slice_number, row, column : float
        InstanceNumber of the slice, and the pixel in it; NaN where they are not known.
    """

    study: str
    level: str
    x_lps_mm: float
    y_lps_mm: float
    z_lps_mm: float
    slice_number: float
    row: float
    column: float


class LesionReference(Protocol):
    """Reference locations of the fractures of many studies."""

    @property
    def hit_criterion(self) -> str:
        """Criterion of a hit, for reports."""

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the levels with a located fracture; None where the locations in a study are not known."""

    def hit(self, mark: Mark) -> str | None:
        """Return the level whose fracture a mark hits, or None. A mark can hit fractures of its own level only."""


class PointReference:
    """Fractures as points: voxels of label maps, or the recorded points of compiled phantoms.

    Parameters
    ----------
    files : mapping of str to Path
        Study to a label map (see `FRACTURE_STEP` for its values) or to a JSON file with ``fracture_lps_mm``.
    intact_studies : collection of str
        Studies known to have no fracture.
    """

    def __init__(self, files: Mapping[str, Path], intact_studies: Collection[str] = ()) -> None:
        self._files, self._intact_studies = dict(files), frozenset(intact_studies)
        self._cache: dict[str, dict[str, Floats] | None] = {}

    @property
    def hit_criterion(self) -> str:
        """Criterion of a hit, for reports."""
        return f"within {HIT_DISTANCE_MM:g} mm of the vertebra's fracture"

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the levels with a located fracture; raises LabelError where a file is damaged."""
        points = self._points(study)
        return None if points is None else tuple(points)

    def hit(self, mark: Mark) -> str | None:
        """Return the level whose fracture a mark hits; raises as `targets`."""
        points = (self._points(mark.study) or {}).get(mark.level)
        if points is None:
            return None
        point = np.array([mark.x_lps_mm, mark.y_lps_mm, mark.z_lps_mm])
        is_near = np.linalg.norm(points - point, axis=1).min() <= HIT_DISTANCE_MM
        return mark.level if is_near else None

    def _points(self, study: str) -> dict[str, Floats] | None:
        """Return points on the fractures of each fractured vertebra; None where locations are not known."""
        if study not in self._cache:
            path = self._files.get(study)
            self._cache[study] = _read_points(path) if path else {} if study in self._intact_studies else None
        return self._cache[study]


def _read_points(path: Path) -> dict[str, Floats] | None:
    """Return points on the fractures of each vertebra, (n, 3) LPS mm; None if a map does not specify the vertebra."""
    if path.suffix == ".json":
        recorded = read_json(path).get("fracture_lps_mm", {})
        return {
            str(level): np.asarray(points, np.float64).reshape(-1, 3) for level, points in recorded.items() if points
        }
    affine, labels = read_label_map(path)
    voxels = np.argwhere(labels)
    values = labels[tuple(voxels.T)]
    if (values == UNSPECIFIED_LEVEL).any():
        return None
    points_of: dict[str, Floats] = {}
    for level in VERTEBRAE:
        level_voxels = voxels[values % FRACTURE_STEP == SEGMENT_NUMBERS[level]]
        if len(level_voxels):
            sample = level_voxels[:: max(len(level_voxels) // _MAX_POINTS, 1)]
            points_of[level] = sample @ affine[:3, :3].T + affine[:3, 3]
    return points_of


class BoxReference:
    """Fractures as the challenge's bounding boxes, which name no level: a mark within a box hits its own level.

    Parameters
    ----------
    boxes : DataFrame
        As returned by `cspine.datasets.rsna2022_labels.read_boxes`.
    labels : DataFrame
        As returned by `cspine.datasets.rsna2022_labels.read_labels`; only marks at fractured levels can hit.
    """

    def __init__(self, boxes: pd.DataFrame, labels: pd.DataFrame) -> None:
        self._boxes: dict[Hashable, pd.DataFrame] = dict(iter(boxes.groupby(STUDY)))
        self._labels = labels

    @property
    def hit_criterion(self) -> str:
        """Criterion of a hit, for reports."""
        return f"in a box of the study, at most {BOX_SLICE_MARGIN} slices beside it, at a fractured level"

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the fractured levels of a study with boxes, and of one without fractures."""
        row = self._labels.loc[study]
        fractured = tuple(level for level in self._labels.columns[1:] if row[level])
        return None if fractured and study not in self._boxes else fractured

    def hit(self, mark: Mark) -> str | None:
        """Return the level of a mark that lies within a box, if that level is fractured."""
        boxes = self._boxes.get(mark.study)
        if boxes is None or not self._labels.loc[mark.study, mark.level] or np.isnan(mark.slice_number):
            return None
        is_inside = (
            (np.abs(boxes["slice_number"] - mark.slice_number) <= BOX_SLICE_MARGIN)
            & (mark.column >= boxes["x"] - 0.5) & (mark.column <= boxes["x"] + boxes["width"] - 0.5)
            & (mark.row >= boxes["y"] - 0.5) & (mark.row <= boxes["y"] + boxes["height"] - 0.5)
        )  # fmt: skip
        return mark.level if is_inside.any() else None
