"""Virtual studies: an intact scan with fractures in some of its vertebrae, or with shams in the same places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.typing import Bools, Floats32
from cspine.insertion.breaking import break_bone, surface_shift_mm
from cspine.insertion.placement import place_fractures, snap_to_bone
from cspine.insertion.records import describe_scan, fracture_record, modelled_visibility
from cspine.insertion.scan import IntactScan
from cspine.insertion.scene import Scene
from cspine.insertion.settings import InsertionSettings
from cspine.insertion.sham import disturb
from cspine.insertion.swelling import MIN_BLEEDING_MM, swell
from cspine.insertion.territories import OTHER_BONE
from cspine.phantom.conspicuity import FractureSite, Twins, conspicuity
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sites import BLEEDING_TYPES
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.study import PhantomStudy
from cspine.phantom.truth import centroids
from cspine.phantom.visibility import visibility_of_conspicuity

Kind = Literal["fracture", "sham", "intact"]
"""What a virtual study is: with fractures, with shams in their places, or the scan as it is."""

Acquire = Callable[[Floats32, Grid, GridWindow], tuple[Floats32, Grid]]
"""Returns how an acquisition shows a part of a scan: HU and voxels from HU, voxels and their window in the scan."""

_MAX_ATTEMPTS: Final = 24
"""Fractures drawn for a vertebra until one breaks its bone, visibly enough."""

_FRONT_Y_MM: Final = {"C1": -11.0, "C2": -8.0}
_SUBAXIAL_FRONT_Y_MM: Final = -8.0
"""The y of the front of a mean vertebra, in its frame."""


def as_scanned(hu: Floats32, grid: Grid, window: GridWindow) -> tuple[Floats32, Grid]:  # noqa: ARG001 - the protocol
    """Return a part of a scan as it is."""
    return hu, grid


@dataclass(frozen=True)
class VirtualStudy(PhantomStudy):
    """A virtual study with its truth.

    Attributes
    ----------
    touched_mask : (k, j, i) bool
        Voxels that may differ from the scan; all others have its Hounsfield units, bit for bit. Soft tissue about the
        bone and what was resampled without a break are among them.
    """

    touched_mask: Bools


@dataclass(frozen=True)
class PlannedFracture:
    """A fracture of one vertebra: its surfaces break bone of the scan.

    Attributes
    ----------
    level, fracture_type : str
        Vertebra and type.
    surfaces : tuple of Fracture
        In the frame of the registered vertebra.
    conspicuity : float
        Of the broken bone in the image; 0 before it is broken.
    """

    level: str
    fracture_type: str
    surfaces: tuple[Fracture, ...]
    conspicuity: float = 0.0

    @property
    def displacement_mm(self) -> float:
        """The largest displacement, or loss of height."""
        return max(surface_shift_mm(surface) for surface in self.surfaces)


def render_virtual_study(
    scan: IntactScan,
    kind: Kind,
    settings: InsertionSettings,
    rng: np.random.Generator,
    *,
    thickness_mm: float,
    acquire: Acquire = as_scanned,
) -> VirtualStudy:
    """Return a scan with virtual fractures, with shams, or as it is, with its truth.

    Parameters
    ----------
    scan : IntactScan
        A scan without fractures.
    kind : str
        See `Kind`; with the same state of `rng`, fractures and shams are in the same places.
    settings : InsertionSettings
        Levels, types, widths and displacements.
    rng : numpy Generator
        It is advanced.
    thickness_mm : float
        Slice thickness of the scan.
    acquire : callable
        The acquisition in which fractures are to be visible; by default that of the scan. The study is not changed.
    """
    hu, labels = scan.hu.copy(), np.where(scan.labels == OTHER_BONE, np.uint8(0), scan.labels)
    fracture_mask, touched = np.zeros(scan.hu.shape, np.uint8), np.zeros(scan.hu.shape, np.bool_)
    levels = () if kind == "intact" else draw_levels(scan.breakable, settings, rng)
    records: list[dict[str, Any]] = []
    for level in levels:
        window = scan.window(level)
        scene, planned = _changed(scan, scan.scene(level, hu), kind, level, settings, rng, acquire)
        if planned is None:
            continue
        hu[window] = scan.rounded(scene, hu[window])
        touched[window] |= scene.touched
        records.append(
            fracture_record(scan, planned.level, planned.fracture_type, planned.surfaces, planned.conspicuity)
        )
        number = np.uint8(SEGMENT_NUMBERS[level])
        fracture_mask[window][scene.fracture_mask > 0] = number
        labels[window][labels[window] == number] = 0
        labels[window][scene.own] = number
    truth = describe_scan(scan, kind, records, thickness_mm)
    truth["centroids"] = centroids(labels, scan.grid.affine)
    return VirtualStudy(hu, scan.grid.affine, labels, thickness_mm, False, fracture_mask, truth, touched)


def draw_levels(breakable: Sequence[str], settings: InsertionSettings, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw the vertebrae of a study that are broken, from the head down; fewer where the scan shows fewer."""
    weights = np.array([settings.level_mix.get(level, 0.0) * bool(settings.types_of(level)) for level in breakable])
    if not weights.sum():
        return ()
    counts = np.array(list(settings.vertebrae_per_study.values()), float)
    count = int(rng.choice(list(settings.vertebrae_per_study), p=counts / counts.sum()))
    count = min(count, int(np.count_nonzero(weights)))
    chosen = rng.choice(len(breakable), size=count, replace=False, p=weights / weights.sum())
    return tuple(breakable[index] for index in sorted(chosen.tolist()))


def _changed(
    scan: IntactScan,
    scene: Scene,
    kind: Kind,
    level: str,
    settings: InsertionSettings,
    rng: np.random.Generator,
    acquire: Acquire,
) -> tuple[Scene, PlannedFracture | None]:
    """Return a scene with a fracture or a sham, and the fracture; None where no bone can be broken."""
    types = settings.types_of(level)
    names, weights = list(types), np.array(list(types.values()))
    phantom_settings, least = settings.phantom_settings(), settings.min_visibility
    seed = int(rng.integers(2**62))  # shams draw the same places, whatever is drawn for them in between
    places, noise, sham_noise = (np.random.default_rng([seed, stream]) for stream in range(3))
    for _ in range(_MAX_ATTEMPTS):
        fracture_type = names[int(places.choice(len(names), p=weights / weights.sum()))]
        drawn = place_fractures(scan.vertebrae[level], fracture_type, phantom_settings, places)
        surfaces = tuple(snap_to_bone(surface, scene.local, scene.own) for surface in drawn)
        planned, changed = PlannedFracture(level, fracture_type, surfaces), scene
        modelled = settings.min_modelled_visibility
        if modelled and modelled_visibility(scan, level, surfaces) < modelled:
            continue
        if kind == "fracture" or least:
            broken = _apply(scan, scene, planned, "fracture", noise)
            if broken is None:
                continue
            planned = replace(planned, conspicuity=_conspicuity(scan, scene, broken, planned, acquire))
            if visibility_of_conspicuity(planned.conspicuity) < least:
                continue
            changed = broken
        if kind == "sham":
            disturbed = _apply(scan, scene, planned, "sham", sham_noise)
            if disturbed is None:
                continue
            changed = disturbed
        return changed, planned
    return scene, None


def _conspicuity(scan: IntactScan, before: Scene, broken: Scene, planned: PlannedFracture, acquire: Acquire) -> float:
    """Return the conspicuity of a fracture in an acquisition of the scan."""
    window = scan.window(planned.level)
    (fractured, grid), (intact, _) = (acquire(scene.hu, scene.grid, window) for scene in (broken, before))
    site = FractureSite(
        broken.fracture_mask > 0, broken.own | before.own, before.grid, before.frame_lps, planned.surfaces
    )
    return conspicuity(Twins(fractured, intact, grid), site)


def _apply(
    scan: IntactScan, scene: Scene, planned: PlannedFracture, kind: Kind, rng: np.random.Generator
) -> Scene | None:
    """Return the scene with a planned fracture or its sham, swelling included; None where nothing can be broken."""
    changed = scene
    for number, surface in enumerate(planned.surfaces, start=1):
        part = (
            disturb(changed, surface, scan.optics, rng)
            if kind == "sham"
            else break_bone(changed, surface, number, scan.optics, rng)
        )
        if part is None:
            return None
        changed = part
    if kind == "fracture" and not changed.fracture_mask.any():
        return None
    if planned.fracture_type in BLEEDING_TYPES and planned.displacement_mm > MIN_BLEEDING_MM:
        front_y_mm = _FRONT_Y_MM.get(planned.level, _SUBAXIAL_FRONT_Y_MM) * float(scan.vertebrae[planned.level].size[1])
        changed = swell(changed, planned.displacement_mm, front_y_mm, scan.optics, rng)
    return changed
