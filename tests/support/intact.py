"""A small phantom as an intact scan, with the frames of its vertebrae in the localizer's place."""

from functools import cache

import highdicom
import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import InsertionSettings
from cspine.insertion.study import Kind, VirtualStudy, render_virtual_study
from cspine.phantom import Crop, PhantomSettings, render_coarse
from cspine.phantom.disorders.settings import NO_DISORDERS
from cspine.phantom.mimics.settings import NO_MIMICS
from cspine.spine.spine_map import SpineMap, Vertebra

SPACING_MM = 1.5


@cache
def phantom() -> Crop:
    """Return a plain neck without fractures in voxels of 1.5 mm."""
    settings = PhantomSettings(
        prevalence=0.0,
        disorders=NO_DISORDERS,
        mimics=NO_MIMICS,
        tilt_fraction=0.0,
        truncated_fraction=0.0,
        field_of_view_mm=(100.0, 100.0),
        noise_hu=(20.0, 20.0),
    )
    return render_coarse(7, 0, settings, spacing_mm=SPACING_MM)


def spine_map(*, scanned_fraction: float = 1.0) -> SpineMap:
    """Return the vertebrae of the phantom, as a localizer that is 2 mm off would."""
    crop = phantom()
    vertebrae = []
    for level in ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1"):
        frame = crop.frames[level].copy()
        frame[:3, 3] += frame[:3, :3] @ [0.5, 1.0, 1.5]
        index = np.argwhere(crop.labels == SEGMENT_NUMBERS[level])
        local = (index @ crop.affine_lps[:3, :3].T + crop.affine_lps[:3, 3] - frame[:3, 3]) @ frame[:3, :3]
        box = np.array([local.min(axis=0), local.max(axis=0)])
        vertebrae.append(Vertebra(level, frame, frame[:3, 3], box, scanned_fraction, 1.0, 9000.0))
    return SpineMap(tuple(vertebrae))


def volume() -> highdicom.Volume:
    """Return the phantom's HU."""
    return highdicom.Volume(phantom().hu, phantom().affine_lps, "PATIENT")


@cache
def intact_scan() -> IntactScan:
    """Return the phantom, ready for virtual fractures."""
    return IntactScan.of(volume(), spine_map())


def render_at(kind: Kind, seed: int, level: str, fracture_type: str) -> VirtualStudy:
    """Return a virtual study of the phantom with one displaced fracture, or with a sham where it would be."""
    settings = InsertionSettings(
        level_mix={level: 1.0},
        type_mix={fracture_type: 1.0},
        vertebrae_per_study={1: 1.0},
        displacement_mm=(3.0, 4.0),
        fracture_width_mm=(1.0, 2.0),
    )
    return render_virtual_study(intact_scan(), kind, settings, np.random.default_rng(seed), thickness_mm=1.5)
