"""The truth of a phantom study: person, scan, coverage, and every fracture in the scan with its visibility."""

from dataclasses import asdict
from typing import Any, Final

import numpy as np
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS
from cspine.core.typing import Floats, Labels
from cspine.phantom.anatomy.mimic import name_without_levels, named_levels
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.fractures.coverage import fracture_coverage, vertebra_coverage
from cspine.phantom.fractures.fracture import Fracture, fracture_sizes_mm
from cspine.phantom.fractures.old_fractures import OLD_FRACTURES
from cspine.phantom.scanner.noise import slice_noise_hu
from cspine.phantom.scanner.render import TRABECULAR_RATIO
from cspine.phantom.scanner.scanner import Scanner
from cspine.phantom.visibility import visibility, visibility_grade

_LEVELS: Final = {number: level for level, number in SEGMENT_NUMBERS.items()}

MIN_SCANNED_FRACTION: Final = 0.1
"""A fracture of which less is in the scan is not among the fractures of the study."""


def describe_fractures(neck: Neck, scanner: Scanner) -> list[dict[str, Any]]:
    """Return the record of each fracture of which at least `MIN_SCANNED_FRACTION` is in the scan.

    Surfaces of one type in one vertebra are one fracture.
    """
    noise_hu = np.hypot(*slice_noise_hu(neck, scanner)).astype(np.float64)
    records: list[dict[str, Any]] = []
    for level, surfaces in neck.fractures.items():
        for index, fracture_type in enumerate(dict.fromkeys(surface.fracture_type for surface in surfaces)):
            of_type = [surface for surface in surfaces if surface.fracture_type == fracture_type]
            scanned_fraction = max(fracture_coverage(neck, level, surface, scanner) for surface in of_type)
            if scanned_fraction < MIN_SCANNED_FRACTION:
                continue
            mask_value = SEGMENT_NUMBERS[level] + FRACTURE_STEP * index
            record = _fracture_record(neck, scanner, noise_hu, level, of_type)
            records.append(record | {"scanned_fraction": scanned_fraction, "mask_value": mask_value})
    return records


def _fracture_record(
    neck: Neck, scanner: Scanner, noise_hu: Floats, level: str, surfaces: list[Fracture]
) -> dict[str, Any]:
    """Return the record of one fracture; `noise_hu` is the noise of each slice."""
    bone, frame = neck.person.bone, neck.frames[level]
    bone_hu = 0.5 * (bone.cortex_hu + bone.trabecular_hu * TRABECULAR_RATIO[level])
    centers = [frame.to_lps(surface.center_mm) for surface in surfaces]
    local_noise_hu = [float(np.interp(center[2], scanner.grid.plane_z_mm, noise_hu)) for center in centers]
    value = max(
        visibility(surface, bone_hu, scanner, noise) for surface, noise in zip(surfaces, local_noise_hu, strict=True)
    )
    return {
        "level": level,
        "fracture_type": surfaces[0].fracture_type,
        **fracture_sizes_mm(surfaces),
        "visibility": value,
        "visibility_grade": visibility_grade(value),
        "noise_hu": max(local_noise_hu),
        "center_lps_mm": centers[0].tolist(),
        "normal_lps": (frame.axes @ surfaces[0].normal).tolist(),
        "n_surfaces": len(surfaces),
    }


def describe_study(neck: Neck, scanner: Scanner, fractures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the truth of a study, but for what only its voxels give.

    Parameters
    ----------
    neck : Neck
        Gives person, posture and variants.
    scanner : Scanner
        Gives technique and scan range.
    fractures : list of dict
        Records of the fractures in the scan; only their levels count as fractured.
    """
    z, fractured = scanner.grid.plane_z_mm, {fracture["level"] for fracture in fractures}
    return {
        "levels": [level for level in neck.fractures if level in fractured],
        "levels_out_of_scan": [level for level in neck.fractures if level not in fractured],
        "fractures": fractures,
        "vertebrae": {level: neck.frames[level].center_mm.tolist() for level in neck.levels},
        "coverage": vertebra_coverage(neck, scanner),
        "axes": {level: neck.frames[level].axes.tolist() for level in neck.levels},
        "variants": list(neck.variants.names),
        "mimics": describe_mimics(neck, scanner),
        "devices": list(neck.devices),
        "person": {"sex": "F" if neck.person.is_female else "M", "age_years": round(neck.person.age_years, 1)},
        "scanner": {
            "thickness_mm": scanner.thickness_mm,
            "blur_mm": scanner.psf_fwhm_mm,
            "edge": scanner.edge_enhancement,
            "noise_hu": scanner.noise_hu,
            "bone_contrast": scanner.bone_contrast,
            "reconstruction": asdict(scanner.reconstruction),
        },
        "scanned_z_mm": [float(z[0]), float(z[-1])],
    }


def describe_mimics(neck: Neck, scanner: Scanner) -> list[dict[str, Any]]:
    """Return what may be taken for a fracture: name, level (None for the whole neck) and points in LPS mm.

    Variants and disorders have a level but no points; old fractures have their ``fracture_types``, too. What the
    technique of the scan does is of the whole neck.
    """
    records: list[dict[str, Any]] = [
        {
            "name": mimic.name,
            "level": mimic.level,
            "points_lps_mm": [
                np.round(neck.frames[mimic.level].to_lps(point), 2).tolist() for point in mimic.points_mm
            ],
        }
        for mimic in neck.mimics
    ]
    for name in neck.variants.names:
        kind, levels = name_without_levels(name), named_levels(name) or (None,)
        for level in levels:
            record: dict[str, Any] = {"name": kind, "level": level, "points_lps_mm": []}
            if level and kind in OLD_FRACTURES:
                record["fracture_types"] = list(neck.variants.old_fracture_types(level))
            records.append(record)
    return records + [{"name": name, "level": None, "points_lps_mm": []} for name in scanner.mimic_names]


def centroids(labels: Labels, affine: Floats) -> dict[str, list[float]]:
    """Return the centroid of the voxels of each vertebra in the scan, by level, in LPS mm.

    Parameters
    ----------
    labels : (k, j, i) uint8
        Number of the vertebra of each voxel; 0 elsewhere.
    affine : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """
    found = {}
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            index = np.argwhere(labels[box] == number).mean(axis=0) + [part.start for part in box]
            found[_LEVELS[number]] = (affine @ [*index, 1.0])[:3].tolist()
    return found
