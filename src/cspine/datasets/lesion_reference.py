"""Where vertebrae are broken by truth, and whether a mark hits it."""

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.files import read_json
from cspine.dicom.segmentation import read_label_map
from cspine.views.fracture_labels import SOME

NEAR_MM: Final = 5.0
"""A mark within this distance of a fracture hits it."""

NEAR_SLICES: Final = 2
"""So many slices beside a box still count as the box's: boxes mark slices by eye."""

_POINTS: Final = 4_000
"""Places of a fracture that distances are told to: a millimetre apart in the largest."""


Points = npt.NDArray[np.float64]


class Mark(NamedTuple):
    """Where a system points at a vertebra: LPS mm, and a pixel of a slice; NaN where that is not told."""

    study: str
    level: str
    x_lps_mm: float
    y_lps_mm: float
    z_lps_mm: float
    slice_number: float
    row: float
    column: float


class LesionReference(Protocol):
    """Knows where studies are broken."""

    @property
    def told(self) -> str:
        """What counts as a hit, in words."""

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the levels whose fractures are known in place; None where a study's places are not known at all."""

    def hit(self, mark: Mark) -> str | None:
        """Return the level whose fracture a mark hits, or None. A mark hits fractures of its own level only."""


class PointReference:
    """Truth as points on fractures: of label maps, or as compiled phantoms keep them.

    Parameters
    ----------
    files : mapping of str to Path
        Study to a label map (vertebrae's numbers by `FRACTURE_STEP`) or a JSON with ``broken_lps_mm``.
    whole : collection of str
        Studies that are known to have no fracture.
    """

    def __init__(self, files: Mapping[str, Path], whole: Collection[str] = ()) -> None:
        self._files, self._whole = dict(files), frozenset(whole)
        self._known: dict[str, dict[str, Points] | None] = {}

    @property
    def told(self) -> str:
        """What counts as a hit, in words."""
        return f"within {NEAR_MM:g} mm of the vertebra's fracture"

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the levels whose fractures are known in place; raises LabelError where a file is damaged."""
        known = self._points(study)
        return None if known is None else tuple(known)

    def hit(self, mark: Mark) -> str | None:
        """Return the level whose fracture a mark hits; raises as `targets` does."""
        points = (self._points(mark.study) or {}).get(mark.level)
        if points is None:
            return None
        place = np.array([mark.x_lps_mm, mark.y_lps_mm, mark.z_lps_mm])
        near = np.linalg.norm(points - place, axis=1).min() <= NEAR_MM
        return mark.level if near else None

    def _points(self, study: str) -> dict[str, Points] | None:
        """Return points on each broken vertebra's fractures; None where they are not known of all."""
        if study not in self._known:
            path = self._files.get(study)
            self._known[study] = _read(path) if path else {} if study in self._whole else None
        return self._known[study]


def _read(path: Path) -> dict[str, Points] | None:
    """Return points on each vertebra's fractures, (n, 3) LPS mm; None of a map that does not name the vertebra."""
    if path.suffix == ".json":
        known = read_json(path).get("broken_lps_mm", {})
        return {str(level): np.asarray(points, np.float64).reshape(-1, 3) for level, points in known.items() if points}
    affine, labels = read_label_map(path)
    index = np.argwhere(labels)
    values = labels[tuple(index.T)]
    if (values == SOME).any():
        return None
    found: dict[str, Points] = {}
    for level in VERTEBRAE:
        own = index[values % FRACTURE_STEP == SEGMENT_NUMBERS[level]]
        if len(own):
            some = own[:: max(len(own) // _POINTS, 1)]
            found[level] = some @ affine[:3, :3].T + affine[:3, 3]
    return found


class BoxReference:
    """Truth as the challenge's boxes, which name no level: a mark in a box is held to hit its own level.

    Parameters
    ----------
    boxes : DataFrame
        Of `cspine.datasets.rsna2022_labels.read_boxes`.
    labels : DataFrame
        Of `cspine.datasets.rsna2022_labels.read_labels`: only marks at broken levels can hit.
    """

    def __init__(self, boxes: pd.DataFrame, labels: pd.DataFrame) -> None:
        self._boxes: dict[Hashable, pd.DataFrame] = dict(iter(boxes.groupby(STUDY)))
        self._labels = labels

    @property
    def told(self) -> str:
        """What counts as a hit, in words."""
        return f"in a box of the study, at most {NEAR_SLICES} slices beside it, at a broken level"

    def targets(self, study: str) -> tuple[str, ...] | None:
        """Return the broken levels of a study with boxes, and of one without fractures."""
        row = self._labels.loc[study]
        broken = tuple(level for level in self._labels.columns[1:] if row[level])
        return None if broken and study not in self._boxes else broken

    def hit(self, mark: Mark) -> str | None:
        """Return the mark's level where it lies in a box and the level is broken."""
        boxes = self._boxes.get(mark.study)
        if boxes is None or not self._labels.loc[mark.study, mark.level] or np.isnan(mark.slice_number):
            return None
        inside = (
            (np.abs(boxes["slice_number"] - mark.slice_number) <= NEAR_SLICES)
            & (mark.column >= boxes["x"] - 0.5) & (mark.column <= boxes["x"] + boxes["width"] - 0.5)
            & (mark.row >= boxes["y"] - 0.5) & (mark.row <= boxes["y"] + boxes["height"] - 0.5)
        )  # fmt: skip
        return mark.level if inside.any() else None
