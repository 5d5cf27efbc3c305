"""A scan that is ready for virtual fractures: its vertebrae are registered, its sharpness and noise measured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.errors import NotAssessableError
from cspine.core.typing import Bools, Floats, HounsfieldUnits, Labels
from cspine.insertion.noise import ScanNoise
from cspine.insertion.registration import RegisteredVertebra, register_vertebrae
from cspine.insertion.scene import Optics, Scene
from cspine.insertion.sharpness import measure_sharpness
from cspine.insertion.territories import find_territories
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.geometry.points import enclosing_box
from cspine.spine.spine_map import SpineMap

if TYPE_CHECKING:
    import highdicom

MARGIN_MM: Final = 14.0
"""Space about a vertebra in which a fracture moves soft tissue."""

_MIN_AGREEMENT: Final = 0.2
"""Vertebrae that agree less with the phantom's shape are left alone: they are not where they seem to be."""

_MIN_CONFIDENCE: Final = 0.8
"""Vertebrae whose level is less certain are left alone: their labels would not be exact."""

_MIN_SCAN_HU: Final = -1024
_MAX_SAMPLED_VALUES: Final = 200_000
_MAX_STEP_HU: Final = 64


@dataclass(frozen=True)
class IntactScan:
    """A scan without fractures.

    Attributes
    ----------
    hu : (k, j, i) int16
        Hounsfield units.
    grid : Grid
        Voxels, in LPS mm.
    vertebrae : dict
        Registered vertebrae by level.
    labels : (k, j, i) uint8
        Which bone belongs to which vertebra, of `cspine.insertion.territories.find_territories`; 0 far from the spine.
    breakable : tuple of str
        Levels C1 to C7 that were scanned completely, from the head down.
    optics : Optics
        Sharpness and noise about the spine.
    quantum_hu : int
        Distance of neighboring gray values: more than 1 where the source had few bits.
    """

    hu: HounsfieldUnits
    grid: Grid
    vertebrae: dict[str, RegisteredVertebra]
    labels: Labels
    breakable: tuple[str, ...]
    optics: Optics
    quantum_hu: int

    @classmethod
    def of(cls, volume: "highdicom.Volume", spine: SpineMap) -> "IntactScan":
        """Prepare a volume of HU with its localized vertebrae.

        Raises
        ------
        NotAssessableError
            ``no-complete-vertebra``: no cervical vertebra was scanned completely.
        """
        hu = np.maximum(volume.array, _MIN_SCAN_HU).astype(np.int16)
        shape: tuple[int, int, int] = hu.shape
        grid = Grid(np.array(volume.affine, np.float64), shape)
        complete = [
            level
            for level, vertebra in spine.cervical.items()
            if vertebra and vertebra.coverage == "complete" and vertebra.confidence >= _MIN_CONFIDENCE
        ]
        vertebrae = register_vertebrae(grid, hu, spine) if complete else {}
        breakable = tuple(
            level
            for level in complete
            if level in vertebrae
            and vertebrae[level].agreement >= _MIN_AGREEMENT
            and _is_inside(grid, vertebrae[level])
        )
        if not breakable:
            raise NotAssessableError(
                "no-complete-vertebra",
                "no cervical vertebra of certain level was scanned completely; give scans that show one",
            )
        box = enclosing_box(vertebrae[level].box_lps_mm(0.0) for level in breakable)
        window = grid.window(box)
        neck = hu if window is None else hu[window]
        optics = Optics(measure_sharpness(neck, grid.spacing_mm), ScanNoise.measure(neck))
        labels = _label(hu, grid, vertebrae)
        return cls(hu, grid, vertebrae, labels, breakable, optics, _quantum_hu(neck))

    def window(self, level: str) -> GridWindow:
        """Return the window about a vertebra that a fracture may change."""
        window = self.grid.window(self.vertebrae[level].box_lps_mm(MARGIN_MM))
        if window is None:  # pragma: no cover - breakable vertebrae lie in the scan
            raise AssertionError("the vertebra lies outside of the scan")
        return window

    def scene(self, level: str, hu: HounsfieldUnits) -> Scene:
        """Return the scene of a vertebra in a scan that may be changed elsewhere, (k, j, i) HU."""
        window, number = self.window(level), SEGMENT_NUMBERS[level]
        labels, frame = self.labels[window], self.vertebrae[level].frame_lps
        own, other = labels == number, (labels > 0) & (labels != number)
        return Scene.of(self.grid.crop(window), frame, hu[window].astype(np.float32), own, other)

    def rounded(self, scene: Scene, original: HounsfieldUnits) -> HounsfieldUnits:
        """Return the Hounsfield units of a scene in the scan's own gray values; untouched voxels as they were."""
        least = int(original.min())
        steps = np.rint((scene.hu - least) / self.quantum_hu) * self.quantum_hu + least
        changed = np.clip(steps, _MIN_SCAN_HU, np.iinfo(np.int16).max).astype(np.int16)
        return np.asarray(np.where(scene.touched, changed, original))


def _label(hu: HounsfieldUnits, grid: Grid, vertebrae: dict[str, RegisteredVertebra]) -> Labels:
    labels = np.zeros(hu.shape, np.uint8)
    window = grid.window(enclosing_box(each.box_lps_mm(MARGIN_MM) for each in vertebrae.values()))
    if window is not None:
        labels[window] = find_territories(hu[window], grid.crop(window), vertebrae)
    return labels


def _is_inside(grid: Grid, vertebra: RegisteredVertebra) -> bool:
    """Return whether the bone of a vertebra lies in the scan; tips of processes may not."""
    low, high = vertebra.box_lps_mm(-3.0)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
    index = np.linalg.inv(grid.affine)[:3] @ np.vstack([corners, np.ones(corners.shape[1])])
    inside: Bools = (index >= 0) & (index <= np.array(grid.shape)[:, None] - 1)
    return bool(inside.all())


def _quantum_hu(hu: HounsfieldUnits) -> int:
    """Return the greatest common divisor of the differences of gray values.

    >>> _quantum_hu(np.array([-1024, -1008, -960], np.int16))
    16
    """
    flat = hu.ravel()
    values = np.unique(flat[:: max(flat.size // _MAX_SAMPLED_VALUES, 1)]).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 1
    return step if 1 <= step <= _MAX_STEP_HU else 1


def sd_to_fwhm_mm(sd_mm: Floats) -> float:
    """Return the in-plane full width at half maximum of a Gaussian with standard deviations along k, j and i."""
    return float(2 * np.sqrt(2 * np.log(2)) * np.mean(sd_mm[1:]))
