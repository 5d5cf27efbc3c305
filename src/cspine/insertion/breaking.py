"""Breaks bone in a scan: the fragment is moved, soft tissue follows it smoothly, the gap is filled with blood.

Let x be a voxel, u(x) the displacement that has brought the fragment there, and side(x) the signed distance from the
fracture surface. Fixed bone keeps its voxels, weighted by the fraction of the point spread function at x that lies on
its side, ``Phi(-side(x) / sd)``. The fragment is sampled at x - u(x), with the weight ``Phi(side(x - u) / sd)``: a cut
edge is as sharp as the scanner would show it. Soft tissue is sampled at x - w u(x), where w falls from 1 at the
fragment to 0 at fixed bone. What was bone and is neither becomes blood.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage, special

from cspine.core.typing import Bools, Floats32
from cspine.insertion.scene import MIN_SHIFT, Optics, Resampler, Scene, distance_mm, sample_linear, voxel_index
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sites import BURST
from cspine.phantom.geometry.distance_fields import smoothstep
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.points import PointSet

_BOX_FACTOR: Final = 1.3
"""Factor on the box of a fragment, which holds all of it in the mean vertebra but maybe not in this one."""

_CONFINED_TYPES: Final = frozenset(
    {"body", "body compression", "body burst", "teardrop", "dens type I", "dens type II", "dens type III"}
)
"""Types that a larger box would lead into the arch or the facets."""

_FADE: Final = (0.9, 1.0)
"""Part of the box at whose border the break ends."""

_TOUCH_MM: Final = 2.0
"""Pieces of bone beyond the surface belong to the fragment where they come this close to it."""

_MIN_PIECE: Final = 0.3
"""Least volume of such a piece, relative to the largest."""

_REACH_MM: Final = 6.0
"""Distance from the fragment up to which soft tissue follows it, and at least three times the displacement."""

_IMPACTION_HU: Final = 220.0
_IMPACTED_ZONE_MM: Final = 1.2
"""Additional density of impacted bone, and half the thickness of its band, as in the phantom."""

_BLOOD_HU: Final = (20.0, 65.0)
"""Range of the mixture of blood and marrow in a gap."""

_MOTTLE_HU: Final = 12.0
_MOTTLE_MM: Final = 1.5
"""Standard deviation of this mixture within a gap, and the size of its clots."""

_CHIP_MM: Final = 0.8
_CHIP_LIMITS: Final = (-0.9, 1.3)
"""Size of the chips of bone in the gaps of burst bodies, and the normal quantiles between which they have edges."""

MIN_FRAGMENT_MM3: Final = 15.0
"""Smaller pieces are no fragment."""


@dataclass(frozen=True)
class _Cut:
    """A fracture surface on the voxels of a scene.

    Attributes
    ----------
    side, side_before : (k, j, i)
        Signed distance from the surface of each voxel, and of where the fragment was before it came there.
    within, within_before : (k, j, i)
        1 where the fracture acts, falling to 0 at the border of its box.
    half_gap_mm : (k, j, i)
        Half the width of the gap.
    index_before : (3, k, j, i)
        Where the fragment was before it came to a voxel, in voxels.
    shift_mm : (k, j, i)
        How far it came.
    """

    side: Floats32
    side_before: Floats32
    within: Floats32
    within_before: Floats32
    half_gap_mm: Floats32
    index_before: Floats32
    shift_mm: Floats32

    @classmethod
    def of(cls, surface: Fracture, grid: Grid) -> "_Cut":
        """Evaluate a surface on a grid in the frame of its vertebra."""
        points, shape = grid.points(), grid.shape
        before = surface.inverse_warp(points)
        here, there = points.coordinates((0, 0, 0)), before.coordinates((0, 0, 0))
        shift = np.stack([np.broadcast_to(a - b, shape) for a, b in zip(here, there, strict=True)])
        to_index = np.linalg.inv(grid.affine[:3, :3]).astype(np.float32)
        within = _within(surface, points, shape)
        return cls(
            np.broadcast_to(surface.surface_distance(points), shape),
            np.broadcast_to(surface.surface_distance(before), shape),
            within,
            _within(surface, before, shape),
            np.broadcast_to(surface.half_gap_mm(points), shape) * within,
            voxel_index(shape) - np.tensordot(to_index, shift, 1),
            np.linalg.norm(shift, axis=0),
        )


def _within(surface: Fracture, points: PointSet, shape: tuple[int, ...]) -> Floats32:
    """Return 1 in the box of a surface, falling to 0 at its border."""
    offsets = points.coordinates(surface.center_mm)
    reach = [
        np.broadcast_to(np.abs(each) / np.float32(half), shape)
        for each, half in zip(offsets, surface.half_extent_mm, strict=True)
    ]
    return np.asarray(1 - smoothstep(np.maximum(np.maximum(reach[0], reach[1]), reach[2]), *_FADE))


def break_bone(scene: Scene, surface: Fracture, number: int, optics: Optics, rng: np.random.Generator) -> Scene | None:
    """Break the vertebra of a scene along one surface.

    Parameters
    ----------
    scene : Scene
        The scan about the vertebra.
    surface : Fracture
        In the frame of the vertebra.
    number : int
        Value of its voxels in the fracture mask.
    optics : Optics
        Sharpness and noise of the scan.
    rng : numpy Generator
        Source of the noise that is restored.

    Returns
    -------
    Scene or None
        None where there is no bone to break at the surface.
    """
    if surface.fracture_type not in _CONFINED_TYPES:
        surface = replace(surface, half_extent_mm=surface.half_extent_mm * _BOX_FACTOR)
    window = scene.window(surface.bounding_box(), max(_REACH_MM, 3 * surface_shift_mm(surface)) + 2.0)
    if window is None:
        return None
    part = _break_part(scene.crop(window), surface, number, optics, rng)
    return None if part is None else scene.pasted(window, part)


def surface_shift_mm(surface: Fracture) -> float:
    """Return how far a fracture moves its fragment, without its rotation."""
    return float(np.linalg.norm(surface.translation_mm)) + surface.height_loss_mm


def _break_part(scene: Scene, surface: Fracture, number: int, optics: Optics, rng: np.random.Generator) -> Scene | None:
    """Break the vertebra in a scene that holds little more than the box of the surface."""
    cut = _Cut.of(surface, scene.local)
    source = _fragment(scene, cut)
    if source is None:
        return None
    sd_mm = optics.sd_along(scene.grid, scene.frame_lps[:3, :3] @ surface.normal)
    ownership = scene.ownership()
    fixed_weight, fragment_weight = _bone_weights(scene, surface, cut, source, ownership, sd_mm)
    soft_index = _soft_tissue_index(scene, cut, source)
    total = fixed_weight + fragment_weight
    overlap = np.maximum(total, 1)
    fixed_weight, fragment_weight = fixed_weight / overlap, fragment_weight / overlap
    was_bone = np.maximum(sample_linear(ownership, soft_index), ownership * cut.within)
    gap_weight = np.clip(was_bone - fixed_weight - fragment_weight, 0, 1)
    # Beside the crack, where the fragment has left a joint, only voxels say where bone was: their steps are blurred.
    blurred = ndimage.gaussian_filter(gap_weight, optics.sd_mm / scene.grid.spacing_mm)
    gap_weight += (blurred - gap_weight) * smoothstep(np.minimum(np.abs(cut.side), np.abs(cut.side_before)), 0.5, 1.5)
    scale = np.minimum((1 - gap_weight) / np.maximum(fixed_weight + fragment_weight, np.float32(1e-6)), 1)
    fixed_weight, fragment_weight = fixed_weight * scale, fragment_weight * scale
    soft_weight = np.clip(1 - fixed_weight - fragment_weight - gap_weight, 0, 1)
    resampler, index = Resampler(scene.hu), voxel_index(scene.hu.shape)
    moved, moved_soft = resampler.sample(cut.index_before), resampler.sample(soft_index)
    filling = _blood(scene, rng)
    if surface.fracture_type == BURST:
        filling += _chips(scene, rng) * (moved_soft - filling)
    hu = fixed_weight * scene.hu + fragment_weight * moved + gap_weight * filling + soft_weight * moved_soft
    impaction = np.minimum(overlap - 1, 1)  # bone pushed into bone
    if surface.height_loss_mm:
        band = np.clip(1 - np.abs(cut.side) / np.float32(2 * _IMPACTED_ZONE_MM), 0, 1)
        impaction = np.maximum(impaction, band * cut.within * ownership)
    hu += np.float32(_IMPACTION_HU) * impaction
    parts = ((fixed_weight, index), (fragment_weight, cut.index_before), (soft_weight, soft_index))
    hu += restored_noise(parts, gap_weight, optics, rng)
    is_shifted = (np.abs(soft_index - index).max(axis=0) > MIN_SHIFT) & (soft_weight > MIN_SHIFT)
    is_shifted |= (np.abs(cut.index_before - index).max(axis=0) > MIN_SHIFT) & (fragment_weight > MIN_SHIFT)
    touched = is_shifted | (gap_weight > MIN_SHIFT) | (impaction > MIN_SHIFT)
    own_before = sample_linear(scene.own, cut.index_before) * (fragment_weight > 0)
    is_gap = _is_fractured(surface, cut, scene.local) & (scene.own | (own_before > 0.5))
    own = is_gap | (fixed_weight * scene.own + fragment_weight * own_before > 0.5)
    mask = np.where(is_gap, np.uint8(number), np.where(own, scene.fracture_mask, np.uint8(0)))
    return scene.changed(hu, touched, own=own & ~scene.other, fracture_mask=mask)


def _fragment(scene: Scene, cut: _Cut) -> Bools | None:
    """Return the bone beyond the surface that comes near it; None where there is too little."""
    candidates = scene.own & (cut.within > 0) & (cut.side > 0)
    pieces, count = ndimage.label(candidates)
    if not count:
        return None
    numbers = np.arange(1, count + 1)
    nearest = ndimage.minimum(cut.side, pieces, numbers)
    volume = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * float(np.prod(scene.grid.spacing_mm))
    kept = numbers[(nearest < _TOUCH_MM) & (volume > _MIN_PIECE * volume.max())]
    source = np.isin(pieces, kept)
    n_fixed = np.count_nonzero(scene.own & ~source & (np.abs(cut.side) < _TOUCH_MM) & (cut.within > 0))
    least = MIN_FRAGMENT_MM3 / float(np.prod(scene.grid.spacing_mm))
    return source if np.count_nonzero(source) >= least and n_fixed >= 0.5 * least else None


def _bone_weights(
    scene: Scene, surface: Fracture, cut: _Cut, source: Bools, ownership: Floats32, sd_mm: float
) -> tuple[Floats32, Floats32]:
    """Return the weights of fixed bone and of the fragment in each voxel."""
    spacing_mm = scene.grid.spacing_mm
    dropped = scene.own & ~source & (cut.side > _TOUCH_MM) & (cut.within > 0)
    is_near = distance_mm(source, spacing_mm) <= distance_mm(dropped, spacing_mm)
    within, within_before = cut.within * is_near, cut.within_before * (sample_linear(is_near, cut.index_before) > 0.5)
    half = np.float32(0.0) if surface.height_loss_mm else cut.half_gap_mm
    beyond = special.ndtr((cut.side + half) / np.float32(sd_mm))
    # Impacted bone loses the layer that the fragment has sunk into.
    face = cut.side if surface.height_loss_mm else cut.side_before - half
    fixed = ownership * (1 - within * beyond)
    moved = sample_linear(ownership, cut.index_before) * within_before * special.ndtr(face / np.float32(sd_mm))
    return np.asarray(fixed, np.float32), np.asarray(moved * scene.room(), np.float32)


def _soft_tissue_index(scene: Scene, cut: _Cut, source: Bools) -> Floats32:
    """Return where the soft tissue at each voxel was, in voxels, (3, k, j, i)."""
    spacing_mm = scene.grid.spacing_mm
    moved = (sample_linear(source, cut.index_before) > 0.5) & ~scene.other
    longest_mm = float(cut.shift_mm[source].max(initial=0.0))
    fragment_mm = distance_mm(moved, spacing_mm)
    fixed_mm = distance_mm(scene.other | (scene.own & ~source), spacing_mm)
    weight = fixed_mm / np.maximum(fixed_mm + fragment_mm, np.float32(1e-3))
    weight = weight * (1 - smoothstep(fragment_mm, 0.0, max(_REACH_MM, 3 * longest_mm)))
    index = voxel_index(scene.hu.shape)
    return np.asarray(index + weight * (cut.index_before - index), np.float32)


def _blood(scene: Scene, rng: np.random.Generator) -> Floats32:
    """Return the attenuation of blood and marrow, (k, j, i)."""
    clots = ndimage.gaussian_filter(
        rng.standard_normal(scene.hu.shape, dtype=np.float32), _MOTTLE_MM / scene.grid.spacing_mm
    )
    clots *= np.float32(_MOTTLE_HU / max(float(clots.std()), 1e-6))
    return np.asarray(np.float32(rng.uniform(*_BLOOD_HU)) + clots)


def _chips(scene: Scene, rng: np.random.Generator) -> Floats32:
    """Return where a gap holds small pieces of bone, 0 to 1."""
    field = ndimage.gaussian_filter(
        rng.standard_normal(scene.hu.shape, dtype=np.float32), _CHIP_MM / scene.grid.spacing_mm
    )
    field /= max(float(field.std()), 1e-6)
    return smoothstep(field, *_CHIP_LIMITS)


def restored_noise(
    parts: tuple[tuple[Floats32, Floats32], ...], new_weight: Floats32, optics: Optics, rng: np.random.Generator
) -> Floats32:
    """Return the noise that resampling and blending have taken away, (k, j, i) in HU.

    Parameters
    ----------
    parts : tuple of (weight, index)
        Weight of each sample of the scan in a voxel, (k, j, i), and where it was taken, (3, k, j, i).
    new_weight : (k, j, i)
        Weight of attenuation that was not sampled from the scan, and has no noise.
    optics : Optics
        The noise of the scan.
    rng : numpy Generator
        Source of the noise.
    """
    kept = np.zeros_like(new_weight)
    amplitude = [weight * np.sqrt(optics.noise.kept_variance(index)) for weight, index in parts]
    for n, (_, index) in enumerate(parts):
        kept += amplitude[n] ** 2
        for m in range(n):
            apart = ((index - parts[m][1]) ** 2).sum(axis=0)  # samples of neighboring voxels share noise
            kept += 2 * amplitude[n] * amplitude[m] * np.exp(-apart)
    missing = np.sqrt(np.clip(1 - kept, 0, 1))
    noise = optics.noise.draw(new_weight.shape, rng)
    fine = noise - ndimage.gaussian_filter(noise, 1.0)  # interpolation takes high frequencies
    fine /= max(float(fine.std()), 1e-6)
    return np.asarray(np.float32(optics.noise.noise_hu) * missing * (new_weight * noise + (1 - new_weight) * fine))


def _is_fractured(surface: Fracture, cut: _Cut, grid: Grid) -> Bools:
    """Return the voxels of the gap, or of the impacted band; a voxel counts where the surface passes through it."""
    if surface.height_loss_mm:
        return np.asarray((np.abs(cut.side) < _IMPACTED_ZONE_MM) & (cut.within > 0.5))
    half_voxel = np.float32(0.5 * np.abs(surface.normal @ grid.affine[:3, :3]).sum())
    half = np.maximum(cut.half_gap_mm, half_voxel)
    return np.asarray((cut.side > -half) & (cut.side_before < half) & (cut.within > 0.5) & (cut.half_gap_mm > 0))
