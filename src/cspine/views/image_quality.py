"""What in a scan keeps a vertebra from being judged: metal in it, motion through it."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cspine.core.typing import Floats
from cspine.spine.spine_map import Vertebra

METAL_HU: Final = 2500
"""Bone's cortex reaches 2,000 HU with a sharp kernel; fillings, screws and plates are above."""

METAL_MM3: Final = 40.0
"""A screw's tip; single voxels of an overshooting kernel are less."""

_ROOM_MM: Final = 6.0
"""Metal this far from what a vertebra fills still throws streaks through it."""

JUMP_MM: Final = 1.5
"""A neck does not move aside more than this from one slice to the next."""

_BODY_HU: Final = -300
_STEP_MM: Final = 1.5
_PIXEL_MM: Final = 1.4


def image_quality_problems(volume: highdicom.Volume, vertebrae: Iterable[Vertebra]) -> dict[str, tuple[str, ...]]:
    """Return, of each vertebra that has any, what keeps it from being judged, in words."""
    jumps = jumps_lps_mm(volume)
    found: dict[str, tuple[str, ...]] = {}
    for vertebra in vertebrae:
        said = []
        metal = metal_mm3(volume, vertebra)
        if metal > METAL_MM3:
            said.append(f"metal in or beside it: {metal:.0f} cubic mm at {METAL_HU} HU and more")
        low, high = _heights(vertebra)
        if np.any((jumps >= low) & (jumps <= high)):
            said.append("the patient moved while it was scanned")
        if said:
            found[vertebra.level] = tuple(said)
    return found


def _heights(vertebra: Vertebra) -> tuple[float, float]:
    """Return the lowest and highest LPS z of what a vertebra fills."""
    corners = np.array(np.meshgrid(*vertebra.box_mm.T, indexing="ij")).reshape(3, -1)
    z = vertebra.frame_lps[2, :3] @ corners + vertebra.frame_lps[2, 3]
    return float(z.min()), float(z.max())


def metal_mm3(volume: highdicom.Volume, vertebra: Vertebra) -> float:
    """Return how much metal lies in and about a vertebra, in cubic mm.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    vertebra : Vertebra
        Of the same scan.
    """
    low, high = vertebra.box_mm[0] - _ROOM_MM, vertebra.box_mm[1] + _ROOM_MM
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    to_index = volume.inverse_affine @ vertebra.frame_lps
    index = to_index[:3, :3] @ corners + to_index[:3, 3:]
    first = np.clip(np.floor(index.min(axis=1)).astype(int), 0, volume.spatial_shape)
    last = np.clip(np.ceil(index.max(axis=1)).astype(int) + 1, 0, volume.spatial_shape)
    part = volume.array[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    place = np.argwhere(part >= METAL_HU) + first
    back = np.linalg.inv(to_index)
    own = place @ back[:3, :3].T + back[:3, 3]
    inside = np.all((own >= low) & (own <= high), axis=1)
    return float(inside.sum() * np.prod(volume.spacing))


def jumps_lps_mm(volume: highdicom.Volume) -> Floats:
    """Return where the patient moved between slices: LPS z of each jump.

    The outline of the body is laid over that of the next slice; where it must be moved by more than `JUMP_MM` against
    its course before and after, somebody moved. Motion within a slice, which only blurs, is not found.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]``.
    """
    step = max(round(_STEP_MM / volume.spacing[0]), 1)
    stride = [max(round(_PIXEL_MM / spacing), 1) for spacing in volume.spacing[1:]]
    slices = np.arange(0, volume.spatial_shape[0], step)
    if len(slices) < 5:
        return np.empty(0)
    outlines = np.stack([_outline(volume.array[k, :: stride[0], :: stride[1]]) for k in slices.tolist()])
    pixel = np.array([volume.spacing[1] * stride[0], volume.spacing[2] * stride[1]])
    moved = np.stack([_shift(a, b) for a, b in pairwise(outlines)]) * pixel
    course = ndimage.median_filter(moved, size=(5, 1), mode="nearest")
    jump = np.hypot(*(moved - course).T) > JUMP_MM
    middle = (slices[:-1] + slices[1:])[jump] / 2
    centre = [(count - 1) / 2 for count in volume.spatial_shape[1:]]
    return np.array([(volume.affine @ [k, *centre, 1.0])[2] for k in middle.tolist()])


def _outline(plane: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    body = ndimage.binary_fill_holes(plane > _BODY_HU)
    return ndimage.gaussian_filter(np.asarray(body, np.float32), 1.5)


def _shift(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> Floats:
    """Return by how many pixels, down and along rows, the second plane lies off the first, to parts of a pixel."""
    product = fft.rfft2(first) * np.conj(fft.rfft2(second))
    likeness = fft.irfft2(product, s=first.shape)
    peak = np.unravel_index(int(likeness.argmax()), likeness.shape)
    found = []
    for axis, at in enumerate(peak):
        count = likeness.shape[axis]
        around = [likeness[tuple((at + d) % count if a == axis else p for a, p in enumerate(peak))] for d in (-1, 0, 1)]
        bend = around[0] - 2 * around[1] + around[2]
        part = 0.5 * (around[0] - around[2]) / bend if bend else 0.0
        whole = at if at <= count // 2 else at - count
        found.append(-(float(whole) + float(part)))
    return np.array(found)
