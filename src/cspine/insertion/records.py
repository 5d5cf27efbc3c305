"""The truth of a virtual study, with the fields of the phantom's."""

from typing import Any

import numpy as np
from scipy import ndimage

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.insertion.scan import IntactScan, sd_to_fwhm_mm
from cspine.phantom.fractures.fracture import Fracture, fracture_sizes_mm
from cspine.phantom.scanner.scanner import Scanner
from cspine.phantom.visibility import visibility, visibility_grade, visibility_of_conspicuity

_NEAR_MM = 2.0
"""Distance from the surface within which the density of the bone that it crosses is measured."""


def fracture_record(
    scan: IntactScan, level: str, fracture_type: str, surfaces: tuple[Fracture, ...], conspicuity: float
) -> dict[str, Any]:
    """Return the record of one fracture, as in `cspine.phantom.truth`, with its surfaces.

    Parameters
    ----------
    scan : IntactScan
        Gives density, sharpness and noise.
    level, fracture_type : str
        Vertebra and type.
    surfaces : tuple of Fracture
        In the frame of the vertebra.
    conspicuity : float
        Of the fracture in the image.
    """
    noise_hu, value = scan.optics.noise.noise_hu, visibility_of_conspicuity(conspicuity)
    frame = scan.vertebrae[level].frame_lps
    centers = [(frame @ [*surface.center_mm, 1.0])[:3].tolist() for surface in surfaces]
    return {
        "level": level,
        "fracture_type": fracture_type,
        **fracture_sizes_mm(surfaces),
        "visibility": value,
        "visibility_grade": visibility_grade(value),
        "conspicuity": conspicuity,
        "modelled_visibility": modelled_visibility(scan, level, surfaces),
        "noise_hu": noise_hu,
        "center_lps_mm": centers[0],
        "normal_lps": (frame[:3, :3] @ surfaces[0].normal).tolist(),
        "n_surfaces": len(surfaces),
        "scanned_fraction": 1.0,
        "mask_value": SEGMENT_NUMBERS[level],
        "frame_lps": frame.tolist(),
        "surfaces": [_surface_record(surface) for surface in surfaces],
    }


def modelled_visibility(scan: IntactScan, level: str, surfaces: tuple[Fracture, ...]) -> float:
    """Return the visibility of a fracture by the phantom's model of contrast and noise, which knows no texture."""
    scanner, noise_hu = _scanner(scan), scan.optics.noise.noise_hu
    return max(visibility(surface, _bone_hu(scan, level, surface), scanner, noise_hu) for surface in surfaces)


def _surface_record(surface: Fracture) -> dict[str, Any]:
    """Return a surface as JSON can hold it, in the frame of the vertebra."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(surface).items()
        if name not in {"fracture_type", "roughness"}
    }


def describe_scan(scan: IntactScan, kind: str, records: list[dict[str, Any]], thickness_mm: float) -> dict[str, Any]:
    """Return the truth of a study, but for what only its voxels give; shams have no fractures, but places.

    Parameters
    ----------
    scan : IntactScan
        The scan before it was changed.
    kind : str
        Of the study; see `cspine.insertion.study.Kind`.
    records : list of dict
        Records of the fractures, or of what the shams' would be.
    thickness_mm : float
        Slice thickness.
    """
    fractures = records if kind == "fracture" else []
    places = [{"level": each["level"], "fracture_type": each["fracture_type"]} for each in records]
    z = scan.grid.plane_z_mm
    return {
        "kind": kind,
        "levels": [each["level"] for each in fractures],
        "levels_out_of_scan": [],
        "fractures": fractures,
        "shams": places if kind == "sham" else [],
        "vertebrae": {level: each.frame_lps[:3, 3].tolist() for level, each in scan.vertebrae.items()},
        "axes": {level: each.frame_lps[:3, :3].tolist() for level, each in scan.vertebrae.items()},
        "complete_levels": list(scan.breakable),
        "scanner": {
            "thickness_mm": thickness_mm,
            "blur_mm": sd_to_fwhm_mm(scan.optics.sd_mm),
            "edge": 0.0,
            "noise_hu": scan.optics.noise.noise_hu,
        },
        "scanned_z_mm": [float(z[0]), float(z[-1])],
    }


def _scanner(scan: IntactScan) -> Scanner:
    """Return a scanner with the sharpness of the scan, for the phantom's visibility model."""
    fwhm_mm = sd_to_fwhm_mm(scan.optics.sd_mm)
    return Scanner(
        scan.grid,
        thickness_mm=float(scan.optics.sd_mm[0] * np.sqrt(12)),
        mtf50_per_mm=2 * float(np.log(2)) / (np.pi * fwhm_mm),
        edge_enhancement=0.0,
        noise_hu=scan.optics.noise.noise_hu,
        photon_starvation=0.0,
    )


def _bone_hu(scan: IntactScan, level: str, surface: Fracture) -> float:
    """Return the mean attenuation of the bone near a surface, before it was broken."""
    window = scan.window(level)
    grid = scan.grid.crop(window).in_frame(scan.vertebrae[level].frame_lps)
    points = grid.points()
    near = surface.contains(points) & (np.abs(surface.surface_distance(points)) < _NEAR_MM)
    hu = scan.hu[window][near & (scan.labels[window] == SEGMENT_NUMBERS[level])]
    return float(hu.mean()) if hu.size else float(ndimage.mean(scan.hu[window]))
