"""Renders scans of bodies: averaged to cubic voxels, as a scanner of some resolution would show them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from scipy import ndimage

from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits, Labels
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.organs import BLOOD, DISC, Organ, composite_organ
from cspine.phantom.body.body import Body
from cspine.phantom.body.scan import BodyScan
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.geometry.parts import Part, bounding_box_of
from cspine.phantom.geometry.points import Box
from cspine.phantom.scanner.inserts import composite_inserts
from cspine.phantom.scanner.render import RenderedNeck, composite_hard_tissue, composite_vertebra
from cspine.phantom.scanner.scanner import MAX_HU, MIN_HU

Factors: TypeAlias = tuple[int, int, int]
"""Finer voxels along k, j and i."""

_SOFT_TISSUE_STEPS_MM: Final = (2.0, 3.2)
"""Least and largest spacing at which soft tissue is rasterized; other grids are interpolated or averaged."""

_BONE_STEP_MM: Final = 1.5
"""Largest spacing at which bones are drawn; coarser voxels are averages. Vertebrae have two voxels in each at least."""

_SMALL_WINDOW: Final = 200_000
"""Voxels up to which other bones are drawn like vertebrae: ribs are, skulls are not."""

_INSERTS_MM: Final = 90.0
"""Distance from the spine within which there are implants and their streaks."""

_HALF: Final = np.float32(0.499)
"""Fraction of a voxel that has to be filled for its label."""

_MAX_VOXELS: Final = 24_000_000
"""Voxels that are rendered at a time."""

_FWHM_PER_SD: Final = 2 * float(np.sqrt(2 * np.log(2)))

_NOISE_FWHM_MM: Final = 0.6
"""Least width of the Gaussian that correlates the noise."""

_NOISE_VOXEL_MM: Final = np.array([1.0, 0.7, 0.7])
"""Size of the voxels for which the noise of a scanner is given; averages over more have less."""

_SHOULDER_MM: Final = 40.0
"""Height, as a standard deviation, over which the shoulders add noise."""

_MIN_EXCESS: Final = 0.05
"""Relative noise of the shoulders below which there are no streaks."""

_MIN_SIGMA: Final = 0.25
"""Standard deviation of a Gaussian, in voxels, below which it changes nothing."""

_STREAK_MM: Final = 25.0
"""Length of the streaks of the shoulders, as a standard deviation."""


@dataclass(frozen=True)
class RenderedBody:
    """A scan of a body on some grid, with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k toward the head, j to the back, i to the left.
    labels : (k, j, i) uint8
        Numbers of vertebrae as in `cspine.core.anatomy.VERTEBRA_NUMBERS`; 255 the bones of the head.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm of the scan.
    frames : dict
        Level to the affine from the frame of the vertebra to LPS of the scan, (4, 4); ``C0`` is the skull.
    is_scanned : (k, j, i) bool
        Which voxels the scan contains; the others show the body too.
    """

    hu: HounsfieldUnits
    labels: Labels
    affine_lps: Floats
    frames: Mapping[str, Floats]
    is_scanned: Bools


def render_body(
    body: Body, scan: BodyScan, spacing_mm: float, *, margin: int = 0, box_lps_mm: Box | None = None
) -> RenderedBody:
    """Render a scan, averaged to cubic voxels.

    The resolution of the scanner is simulated by a Gaussian blur beyond that averaging.

    Parameters
    ----------
    body, scan : Body, BodyScan
        From `cspine.phantom.body.sampler.draw_body`.
    spacing_mm : float
        Edge of a voxel, in mm.
    margin : int
        Voxels beyond the box on every side.
    box_lps_mm : (2, 3), optional
        What is rendered, in LPS of the scan; by default all that was scanned.
    """
    box = scan.box_lps_mm if box_lps_mm is None else np.asarray(box_lps_mm, np.float64)
    shape = np.maximum(np.rint((box[1] - box[0]) / spacing_mm).astype(int), 1) + 2 * margin
    i, j, k = shape.tolist()
    return _render(body, scan, Grid.aligned(box[0] + (0.5 - margin) * spacing_mm, spacing_mm, (k, j, i)))


def render_body_volume(body: Body, scan: BodyScan, *, min_spacing_mm: float = 1.2) -> RenderedBody:
    """Render a scan on the grid on which the scanner stores it, but with no finer voxels than given.

    Parameters
    ----------
    body, scan : Body, BodyScan
        From `cspine.phantom.body.sampler.draw_body`.
    min_spacing_mm : float
        Least distance of neighboring voxels; axes with a smaller one are averaged to it.
    """
    native = scan.scanner.grid
    finest = np.maximum(native.spacing_mm, min_spacing_mm)
    shape = np.maximum(np.floor(native.spacing_mm * native.shape / finest + 1e-6).astype(int), 1)
    ratio = np.where(native.spacing_mm >= min_spacing_mm, 1.0, np.array(native.shape) / shape)
    affine = native.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ (0.5 * ratio - 0.5)
    affine[:3, :3] *= ratio
    k, j, i = shape.tolist()
    return _render(body, scan, Grid(affine, (k, j, i)))


def _render(body: Body, scan: BodyScan, grid: Grid) -> RenderedBody:
    """Render a scan on a grid in LPS of the scan; large ones slab by slab, with slices beyond them for the blur."""
    hu, labels = np.empty(grid.shape, np.int16), np.empty(grid.shape, np.uint8)
    n_slices, rows, columns = grid.shape
    halo = int(np.ceil(3.0 * scan.scanner.thickness_mm * 0.6 / _FWHM_PER_SD / grid.spacing_mm[0]))
    depth = max(_MAX_VOXELS // (rows * columns), 2 * halo, 1)
    rng = np.random.default_rng(scan.noise_seed)
    for start in range(0, n_slices, depth):
        stop = min(start + depth, n_slices)
        low, high = max(start - halo, 0), min(stop + halo, n_slices)
        part = grid.crop((slice(low, high), slice(0, rows), slice(0, columns)))
        rendered = render_averaged(body, part.in_frame(scan.pose))
        inner = slice(start - low, stop - low)
        hu[start:stop] = _scan(rendered.hu, body, scan, part, rng)[inner]
        labels[start:stop] = rendered.labels[inner]
    return _crop_to_scan(hu, labels, body, scan, grid)


def _crop_to_scan(hu: HounsfieldUnits, labels: Labels, body: Body, scan: BodyScan, grid: Grid) -> RenderedBody:
    """Return what was rendered, with padding outside a circular field of view, and which voxels were scanned."""
    index = Grid(np.linalg.inv(scan.scanner.grid.affine) @ grid.affine, grid.shape).points().coordinates((0, 0, 0))
    inside = np.ones(grid.shape, bool)
    for values, count in zip(index, scan.scanner.grid.shape, strict=True):
        inside &= (values > -0.5) & (values < count - 0.5)
    if scan.scanner.round_field:
        rows, columns = scan.scanner.grid.shape[1:]
        radius = min(rows, columns) / 2
        outside = np.hypot(index[1] - (rows - 1) / 2, index[2] - (columns - 1) / 2) > radius
        hu[np.broadcast_to(outside, hu.shape)] = MIN_HU
    return RenderedBody(hu, labels, grid.affine, scan.frames(body), inside)


def render_averaged(body: Body, grid: Grid) -> RenderedNeck:
    """Render a body on a coarse grid: bones are averaged over finer voxels.

    Parameters
    ----------
    body : Body
        With all bones and tissues.
    grid : Grid
        In LPS of the body; of any direction.

    Returns
    -------
    RenderedNeck
        HU before the scanner, and labels with the bones of the head; its mask of fractures is empty.
    """
    hu = _soft_tissue(body, grid)
    rendered = RenderedNeck(hu, np.zeros(grid.shape, np.uint8), np.zeros((1, 1, 1), np.uint8))
    fine, coarse = _factors(grid, _BONE_STEP_MM, at_least=2), _factors(grid, _BONE_STEP_MM)
    margin = 1.0 + float(grid.spacing_mm.max())
    edge = max(1.0, 0.8 * float(np.median(grid.spacing_mm)))
    for tissue in body.hard_tissues:
        window = grid.in_frame(tissue.frame).window(bounding_box_of(tissue.parts), margin)

        def draw_tissue(over: RenderedNeck, part: Grid, tissue: HardTissue = tissue) -> None:
            composite_hard_tissue(over.hu, tissue, part, over.labels if tissue.is_skull else None)

        is_small = window is not None and _n_voxels(window) < _SMALL_WINDOW
        _average(rendered, grid, window, draw_tissue, fine if is_small else coarse)
    for disc, frame in body.discs:
        composite_organ(hu, Organ((Part(disc, 0.0),), DISC, edge), grid.in_frame(frame))
    for hematoma in body.swelling:
        composite_organ(hu, Organ((Part(hematoma, 0.0),), BLOOD, edge), grid)
    for level in body.levels:
        box = bounding_box_of(body.vertebra_parts(level))
        window = grid.in_frame(body.frames[level].affine).window(box, margin)

        def draw_vertebra(over: RenderedNeck, part: Grid, level: str = level) -> None:
            composite_vertebra(over, body, level, part, 0.0)

        _average(rendered, grid, window, draw_vertebra, fine)
    if body.inserts:

        def draw_inserts(over: RenderedNeck, part: Grid) -> None:
            composite_inserts(over.hu, body.inserts, part, float(part.spacing_mm.max()))

        neck = np.array([body.frames[level].center_mm for level in ("C0", "T2")])
        box = np.array([neck.min(axis=0), neck.max(axis=0)])
        _average(rendered, grid, grid.window(box, _INSERTS_MM), draw_inserts, coarse)
    return rendered


def _factors(grid: Grid, step_mm: float, at_least: int = 1) -> Factors:
    """Return how many finer voxels along each axis make steps of a length at most."""
    k, j, i = np.maximum(np.ceil(grid.spacing_mm / step_mm - 1e-6), at_least).astype(int).tolist()
    return k, j, i


def _soft_tissue(body: Body, grid: Grid) -> Floats32:
    """Return the HU of soft tissue: averaged over finer voxels on coarse grids, interpolated on fine ones."""
    factors = _factors(grid, _SOFT_TISSUE_STEPS_MM[1])
    finer = _finer(grid, factors)
    strides = np.maximum(_SOFT_TISSUE_STEPS_MM[0] / finer.spacing_mm, 1.0)
    affine = finer.affine.copy()
    affine[:3, :3] *= strides
    k, j, i = np.maximum(np.ceil((np.array(finer.shape) - 1) / strides).astype(int) + 1, 2).tolist()
    coarse = Grid(affine, (k, j, i))
    edge = 0.8 * float(coarse.spacing_mm.max())
    organs = tuple(replace(organ, edge_mm=max(organ.edge_mm, edge)) for organ in body.soft_tissue.organs)
    tissue = replace(body.soft_tissue, grid=coarse, organs=organs)
    hu = tissue.hu if coarse.shape == finer.shape and strides.max() == 1 else tissue.resample(finer)
    return np.asarray(_block_means(hu, factors))


def _finer(grid: Grid, factors: Factors) -> Grid:
    """Return the grid of the finer voxels that each voxel of a grid is divided into."""
    affine = grid.affine.copy()
    affine[:3, :3] /= factors
    affine[:3, 3] -= affine[:3, :3] @ ((np.array(factors) - 1) / 2)
    k, j, i = (count * factor for count, factor in zip(grid.shape, factors, strict=True))
    return Grid(affine, (k, j, i))


def _average(
    rendered: RenderedNeck,
    grid: Grid,
    window: GridWindow | None,
    draw: Callable[[RenderedNeck, Grid], None],
    factors: Factors,
) -> None:
    """Draw within a window on finer voxels, and average them.

    A voxel has the label of what fills at least half of it.
    """
    if window is None:
        return
    part = grid.crop(window)
    if max(factors) == 1:
        draw(RenderedNeck(rendered.hu[window], rendered.labels[window], np.zeros(part.shape, np.uint8)), part)
        return
    finer = _finer(part, factors)
    blocks = [size for pair in zip(part.shape, factors, strict=True) for size in pair]
    spread = np.broadcast_to(rendered.hu[window][:, None, :, None, :, None], blocks)
    over = RenderedNeck(spread.reshape(finer.shape), np.zeros(finer.shape, np.uint8), np.zeros(finer.shape, np.uint8))
    draw(over, finer)
    rendered.hu[window] = _block_means(over.hu, factors)
    number = int(over.labels.max())
    if number:
        filled = _block_means((over.labels != 0).astype(np.float32), factors)
        rendered.labels[window][filled >= _HALF] = number


def _n_voxels(window: GridWindow) -> int:
    return int(np.prod([part.stop - part.start for part in window]))


def _block_means(values: Floats32, factors: Factors) -> Floats32:
    """Return the means over blocks of voxels."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            parts = [np.moveaxis(values, axis, 0)[number::factor] for number in range(factor)]
            values = np.moveaxis(sum(parts[1:], start=parts[0]), 0, axis)
    return values * np.float32(1 / np.prod(factors)) if max(factors) > 1 else values


def _scan(ideal: Floats32, body: Body, scan: BodyScan, grid: Grid, rng: np.random.Generator) -> HounsfieldUnits:
    """Return HU blurred beyond the averaging over voxels, with noise and errors of calibration."""
    scanner, spacing = scan.scanner, grid.spacing_mm
    native = scanner.grid.spacing_mm
    fwhm = np.array([scanner.thickness_mm * 0.6, scanner.psf_fwhm_mm, scanner.psf_fwhm_mm])
    # Voxels larger than those rendered are averages over their extent, and are interpolated linearly.
    larger = np.where(native > spacing * 1.01, native, 0.0)
    variance = (fwhm / _FWHM_PER_SD) ** 2 + larger**2 / 6 - spacing**2 / 12
    hu = ndimage.gaussian_filter(ideal, np.sqrt(np.maximum(variance, 0)) / spacing, mode="nearest", truncate=3.0)
    width = np.maximum(_NOISE_FWHM_MM, np.maximum(native, larger * 1.2)) / _FWHM_PER_SD / spacing
    noise = _correlated_noise(rng, hu.shape, width)
    remaining = float(np.sqrt(np.prod(np.minimum(1.0, np.maximum(_NOISE_VOXEL_MM, native) / spacing))))
    shoulders = np.mean([(scan.pose @ [*joint, 1.0])[2] for joint in body.plan.shoulders.values()])
    excess = scan.shoulder_noise * np.exp(-0.5 * ((grid.plane_z_mm - shoulders) / _SHOULDER_MM) ** 2)
    amplitude = scanner.noise_hu * remaining
    noise *= (amplitude * (1 + 0.5 * excess)).astype(np.float32)[:, None, None]
    hu += noise
    streaked = np.flatnonzero(excess > _MIN_EXCESS)
    if len(streaked):
        slab = slice(int(streaked[0]), int(streaked[-1]) + 1)
        streaks = _correlated_noise(rng, hu[slab].shape, np.array([0.0, 0.35, _STREAK_MM / spacing[2]]))
        streaks *= (amplitude * excess[slab]).astype(np.float32)[:, None, None]
        hu[slab] += streaks
    hu *= np.float32(scan.hu_scale)
    hu += np.float32(scan.hu_offset_hu)
    return np.clip(np.rint(hu), MIN_HU, MAX_HU).astype(np.int16)


def _correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: Floats) -> Floats32:
    """Draw noise of standard deviation 1 that is correlated by a Gaussian, whose width along each axis is in voxels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    axes = [axis for axis in range(3) if sigma[axis] > _MIN_SIGMA]
    for axis in axes:
        noise = ndimage.gaussian_filter1d(noise, float(sigma[axis]), axis=axis, truncate=2.0)
    if axes:
        noise /= np.float32(max(float(noise.std()), 1e-6))
    return noise
