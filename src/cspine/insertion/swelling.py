"""Prevertebral swelling: the soft tissue before a broken vertebra grows thicker, the airway moves forward."""

from typing import Final

import numpy as np

from cspine.insertion.breaking import restored_noise
from cspine.insertion.scene import MIN_SHIFT, Optics, Resampler, Scene, distance_mm, voxel_index
from cspine.phantom.geometry.distance_fields import smoothstep

MIN_BLEEDING_MM: Final = 1.5
"""Displacement, or loss of height, from which on a fracture causes visible swelling, as in the phantom."""

_THICKNESS_MM: Final = (1.0, 0.7, 4.5)
"""Swelling of a fracture without displacement, growth per mm of displacement, and its maximum."""

_BOX_MM: Final = np.array([[-20.0, -38.0, -24.0], [20.0, 0.0, 24.0]])
"""Where soft tissue moves, in the frame of the vertebra."""

_HALF_WIDTH_MM: Final = 11.0
_FRONT_DEPTH_MM: Final = (12.0, 30.0)
"""Distance from bone up to which all tissue moves forward, and from which on none does."""


def swell(scene: Scene, displacement_mm: float, front_y_mm: float, optics: Optics, rng: np.random.Generator) -> Scene:
    """Return a scene with swelling before the vertebra; tissue near the bone is stretched, nothing is added.

    Parameters
    ----------
    scene : Scene
        The scan about the vertebra.
    displacement_mm : float
        Displacement of the fragment, or its loss of height, on which the thickness depends.
    front_y_mm : float
        The y of the front of the vertebra, in its frame.
    optics, rng
        As of `cspine.insertion.breaking.break_bone`.
    """
    window = scene.window(_BOX_MM + np.array([0.0, front_y_mm, 0.0]), 2.0)
    if window is None:
        return scene
    part = scene.crop(window)
    least, growth, most = _THICKNESS_MM
    thickness_mm = min(least + growth * displacement_mm, most)
    x, y, z = part.local.points().coordinates((0.0, front_y_mm, 0.0))
    depth = distance_mm(part.own | part.other, part.grid.spacing_mm)
    near, far = _FRONT_DEPTH_MM
    profile = smoothstep(depth, 0.0, 2.0 * thickness_mm + 2.0) * (1 - smoothstep(depth, near, far))
    across = np.exp(-((x / np.float32(_HALF_WIDTH_MM)) ** 2)) * (1 - smoothstep(np.abs(x), 14.0, 20.0))
    bump = across * (1 - smoothstep(np.abs(z), 8.0, 22.0)) * smoothstep(-y, -1.0, 3.0)
    shift_mm = np.float32(thickness_mm) * bump * profile
    to_index = np.linalg.inv(part.local.affine[:3, :3])[:, 1].astype(np.float32)
    index = voxel_index(part.hu.shape)
    before = index + to_index[:, None, None, None] * shift_mm
    hu = Resampler(part.hu).sample(before)
    one = np.ones_like(hu)
    hu += restored_noise(((one, before),), np.zeros_like(hu), optics, rng)
    touched = np.abs(before - index).max(axis=0) > MIN_SHIFT
    return scene.pasted(window, part.changed(hu, touched & ~part.own & ~part.other))
