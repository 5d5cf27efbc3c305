"""Renders scans of bodies: averaged to cubic voxels, as a scanner of some resolution would show them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
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

_SOFT_TISSUE_STEP_MM: Final = 2.0
"""Least spacing at which soft tissue is rasterized; finer grids are interpolated."""

_COARSE_MM: Final = 2.0
"""Spacing from which on bones other than vertebrae are averaged over finer voxels too."""

_SMALL_WINDOW: Final = 200_000
"""Voxels up to which they are averaged so on finer grids too: ribs are, skulls are not."""

_MAX_VOXELS: Final = 24_000_000
"""Voxels that are rendered at a time."""

_OVERSAMPLING: Final = 2
"""Finer voxels along each axis over which bones are averaged."""

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
    box, native = scan.box_lps_mm, scan.scanner.grid.spacing_mm
    extent = (box[1] - box[0])[::-1]
    shape = np.maximum(np.floor(extent / np.maximum(native, min_spacing_mm) + 1e-6).astype(int), 1)
    spacing = np.where(native >= min_spacing_mm, native, extent / shape)
    k, j, i = shape.tolist()
    return _render(body, scan, Grid.aligned(box[0] + 0.5 * spacing[::-1], spacing.tolist(), (k, j, i)))


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
    spacing = float(grid.spacing_mm.max())
    edge = max(1.0, 0.8 * spacing)
    for tissue in body.hard_tissues:
        window = grid.in_frame(tissue.frame).window(bounding_box_of(tissue.parts), 1.0 + spacing)

        def draw_tissue(fine: RenderedNeck, part: Grid, tissue: HardTissue = tissue) -> None:
            composite_hard_tissue(fine.hu, tissue, part, fine.labels if tissue.is_skull else None)

        is_cheap = spacing >= _COARSE_MM or (window is not None and _n_voxels(window) < _SMALL_WINDOW)
        _average(rendered, grid, window, draw_tissue, _OVERSAMPLING if is_cheap else 1)
    for disc, frame in body.discs:
        composite_organ(hu, Organ((Part(disc, 0.0),), DISC, edge), grid.in_frame(frame))
    for hematoma in body.swelling:
        composite_organ(hu, Organ((Part(hematoma, 0.0),), BLOOD, edge), grid)
    for level in body.levels:
        box = bounding_box_of(body.vertebra_parts(level))
        window = grid.in_frame(body.frames[level].affine).window(box, 1.0 + spacing)

        def draw_vertebra(fine: RenderedNeck, part: Grid, level: str = level) -> None:
            composite_vertebra(fine, body, level, part, 0.0)

        _average(rendered, grid, window, draw_vertebra, _OVERSAMPLING)
    composite_inserts(hu, body.inserts, grid, spacing)
    return rendered


def _soft_tissue(body: Body, grid: Grid) -> Floats32:
    """Return the HU of soft tissue on a grid; on fine ones it is interpolated from a coarser one of the same axes."""
    strides = np.maximum(_SOFT_TISSUE_STEP_MM / grid.spacing_mm, 1.0)
    affine = grid.affine.copy()
    affine[:3, :3] *= strides
    shape = np.ceil((np.array(grid.shape) - 1) / strides).astype(int) + 1
    k, j, i = np.maximum(shape, 2).tolist()
    coarse = Grid(affine, (k, j, i))
    edge = 0.8 * float(coarse.spacing_mm.max())
    organs = tuple(replace(organ, edge_mm=max(organ.edge_mm, edge)) for organ in body.soft_tissue.organs)
    tissue = replace(body.soft_tissue, grid=coarse, organs=organs)
    return np.array(tissue.resample(grid)) if strides.max() > 1 or coarse.shape != grid.shape else tissue.hu


def _average(
    rendered: RenderedNeck,
    grid: Grid,
    window: GridWindow | None,
    draw: Callable[[RenderedNeck, Grid], None],
    factor: int,
) -> None:
    """Draw within a window on voxels finer by a factor, and average them.

    A voxel has the label of what fills at least half of it.
    """
    if window is None:
        return
    part = grid.crop(window)
    if factor == 1:
        draw(RenderedNeck(rendered.hu[window], rendered.labels[window], np.zeros(part.shape, np.uint8)), part)
        return
    affine = part.affine.copy()
    affine[:3, :3] /= factor
    affine[:3, 3] -= affine[:3, :3].sum(axis=1) * (factor - 1) / 2
    k, j, i = part.shape
    shape = (k * factor, j * factor, i * factor)
    spread = np.broadcast_to(rendered.hu[window][:, None, :, None, :, None], (k, factor, j, factor, i, factor))
    fine = RenderedNeck(spread.reshape(shape), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    draw(fine, Grid(affine, shape))
    rendered.hu[window] = _block_sums(fine.hu, factor) * np.float32(factor**-3)
    number = int(fine.labels.max())
    if number:
        filled = _block_sums((fine.labels != 0).view(np.uint8), factor)
        rendered.labels[window][2 * filled >= factor**3] = number


def _n_voxels(window: GridWindow) -> int:
    return int(np.prod([part.stop - part.start for part in window]))


def _block_sums(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Return the sums over blocks of voxels, `factor` along each axis."""
    for axis in (0, 1, 2):
        index = [slice(None)] * 3
        parts = []
        for number in range(factor):
            index[axis] = slice(number, None, factor)
            parts.append(values[tuple(index)])
        values = sum(parts[1:], start=parts[0])
    return values


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
