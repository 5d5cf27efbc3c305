"""CT acquisition: from a neck and a scanner to slices in HU."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import fft

from cspine.core.typing import HounsfieldUnits, Labels
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.scanner.artifacts import add_metal, apply_beam_hardening
from cspine.phantom.scanner.kernel import frequency_and_kernel, motion_transfer
from cspine.phantom.scanner.noise import NoiseSpectra, slice_noise_hu, white_noise_transform
from cspine.phantom.scanner.render import render
from cspine.phantom.scanner.scanner import MAX_HU, MIN_HU, Scanner, outside_circle

_SLAB: Final = 24
"""Slices rendered at a time: few enough for the cache of the processor, many enough to share bounding boxes."""


@dataclass(frozen=True)
class Scan:
    """A scan of a neck with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k from caudal to cranial, j to the back, i to the left.
    labels, fracture_mask : (k, j, i) uint8
        Reference masks, as in `cspine.phantom.scanner.render.RenderedNeck`.
    """

    hu: HounsfieldUnits
    labels: Labels
    fracture_mask: Labels


def acquire(neck: Neck, scanner: Scanner, rng: np.random.Generator) -> Scan:
    """Scan a neck.

    Parameters
    ----------
    neck : Neck
        With or without fractures.
    scanner : Scanner
        Technique of the scan: thickness, kernel, dose and motion.
    rng : numpy Generator
        Source of the noise.
    """
    grid = scanner.grid
    plane = grid.shape[1:]
    hu = np.empty(grid.shape, np.int16)
    labels, fracture_mask = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    u, frequency, kernel = frequency_and_kernel(scanner)
    look = scanner.reconstruction
    spectra = NoiseSpectra.of_kernel(u, frequency, kernel * look.noise_transfer(frequency), plane[1])
    half, width, band = spectra.half, spectra.width, spectra.noise.shape
    noise_hu, streaks_hu = slice_noise_hu(neck, scanner)
    # Overlapping slices share noise: a first-order autoregression along z.
    memory = float(np.clip(1 - grid.spacing_mm[0] / scanner.thickness_mm, 0, 0.9))
    white = white_noise_transform(plane, band, rng)
    motion, is_moved = motion_transfer(scanner)
    padding = outside_circle(plane) if scanner.round_field else None
    for start in range(0, grid.shape[0], _SLAB):
        slab = slice(start, min(start + _SLAB, grid.shape[0]))
        part = grid.crop((slab, slice(0, plane[0]), slice(0, plane[1])))
        rendered = render(neck, part, thickness_mm=scanner.thickness_mm)
        labels[slab], fracture_mask[slab] = rendered.labels, rendered.fracture_mask
        add_metal(rendered.hu, neck.fillings, part)
        for k in range(slab.start, slab.stop):
            white = memory * white + np.float32(np.sqrt(1 - memory**2)) * white_noise_transform(plane, band, rng)
            ideal = rendered.hu[k - start]
            transform: Any = fft.rfft2(ideal)
            apply_beam_hardening(transform, ideal, float(grid.spacing_mm[1]), scanner.beam_hardening)
            transform *= kernel * motion if motion is not None and is_moved[k] else kernel
            noise = white * (spectra.noise * np.float32(noise_hu[k]) + spectra.streaks * np.float32(streaks_hu[k]))
            transform[:half, :width] += noise[:half]
            transform[-half:, :width] += noise[half:]
            scanned = look.finish(fft.irfft2(transform, s=plane, overwrite_x=True), float(noise_hu[k]))
            np.rint(scanned, out=scanned)
            hu[k] = np.clip(scanned, MIN_HU, MAX_HU, out=scanned)
            if padding is not None:
                hu[k][padding], labels[k][padding], fracture_mask[k][padding] = MIN_HU, 0, 0
    return Scan(hu, labels, fracture_mask)
