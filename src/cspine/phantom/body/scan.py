"""A scan of a body: what it covers, with which field of view, voxels, kernel, dose and calibration; and its truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.body.body import Body
from cspine.phantom.body.settings import BodySettings, ScanKind
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import bounding_box_of, sample_distance
from cspine.phantom.scanner.scanner import Scanner
from cspine.phantom.settings import Range

_FIELDS_MM: Final[Mapping[ScanKind, Range]] = {
    "head": (190.0, 300.0),
    "head to C2": (190.0, 320.0),
    "head to C3": (190.0, 320.0),
    "head to C4": (190.0, 350.0),
    "neck": (150.0, 300.0),
    "head and neck": (220.0, 560.0),
    "neck cut above": (150.0, 320.0),
    "neck cut below": (150.0, 320.0),
    "C5 and below": (220.0, 500.0),
    "C3 to C6": (150.0, 260.0),
    "chest": (180.0, 500.0),
    "chest from C7": (180.0, 500.0),
    "abdomen": (150.0, 500.0),
    "pan-scan": (380.0, 700.0),
    "pan-scan from skull base": (320.0, 700.0),
    "C6 and below": (180.0, 500.0),
    "T3 and below": (180.0, 500.0),
    "lumbar spine": (150.0, 300.0),
}
"""Width of a slice by kind; one scan in four has any width of the settings that is larger."""

_WIDER_FRACTION: Final = 0.25

_SLICE_SPACINGS_MM: Final = ((0.3, 1.3), (1.3, 3.2), (3.2, 5.0))
_SPACING_FRACTIONS: Final = (0.55, 0.30, 0.15)
"""Bounds of the distance between slices of thin, medium and thick ones, and the fractions of scans with them."""

_HEAD_TILTS: Final = 4.0
"""How much more often the gantry is tilted for scans of the head."""

_MIN_MARGIN_MM: Final = 32.0
"""Least distance of the middle of the spine from the border of the field of view."""


@dataclass(frozen=True)
class BodyScan:
    """The technique of one scan of a body.

    Attributes
    ----------
    kind : str
        What it covers.
    scanner : Scanner
        Voxels, kernel and noise; its grid is in LPS of the scan.
    pose : (4, 4)
        From LPS of the body to LPS of the scan: the person has rolled on the table.
    shoulder_noise : float
        Additional noise at the shoulders, relative to the noise of the neck.
    hu_scale, hu_offset_hu : float
        Errors of calibration: factor on HU, and what is added to the product.
    noise_seed : int
        Seed of the noise.
    """

    kind: ScanKind
    scanner: Scanner
    pose: Floats
    shoulder_noise: float
    hu_scale: float
    hu_offset_hu: float
    noise_seed: int

    @property
    def box_lps_mm(self) -> Floats:
        """Box about all that was scanned, including the outer halves of the outer voxels, (2, 3)."""
        grid = self.scanner.grid
        corners = np.array(list(product(*((-0.5, count - 0.5) for count in grid.shape))))
        points = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        return np.array([points.min(axis=0), points.max(axis=0)])

    def frames(self, body: Body) -> dict[str, Floats]:
        """Return the affine of each vertebra and of the skull (``C0``) to LPS of the scan, (4, 4) by level."""
        return {level: self.pose @ frame.affine for level, frame in body.frames.items()}


def draw_scan(body: Body, kind: ScanKind, settings: BodySettings, rng: np.random.Generator) -> BodyScan:
    """Draw a scan of a kind.

    Parameters
    ----------
    body : Body
        Whose anatomy the scan range follows.
    kind : str
        What is to be covered.
    settings : BodySettings
        Distributions to draw from.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    pose = _draw_pose(body, settings, rng)
    low_z, high_z = _draw_range(body, kind, rng)
    limits = _SLICE_SPACINGS_MM[int(rng.choice(3, p=_SPACING_FRACTIONS))]
    spacing = float(np.exp(rng.uniform(*np.log(np.clip(limits, *settings.slice_spacing_mm)))))
    field = _draw_field(kind, settings, rng)
    matrix = int(rng.choice([128, 192, 256])) if rng.random() < settings.coarse_matrix_fraction else 512
    if matrix == 512 and rng.random() < 0.06:
        matrix = 768
    pixel = field / matrix
    middle = _draw_middle(body, pose, (low_z, high_z), field, settings, rng)
    shape = (max(int((high_z - low_z) / spacing), 4), matrix, matrix)
    origin = np.round([middle[0] - 0.5 * (field - pixel), middle[1] - 0.5 * (field - pixel), low_z], 3)
    affine = Grid.aligned(origin, (spacing, pixel, pixel), shape).affine
    if rng.random() < settings.tilt_fraction * (_HEAD_TILTS if kind.startswith("head") else 1.0):
        tilt = np.radians(rng.uniform(-22.0, 22.0))  # the gantry tilts about x while the table still moves along z
        affine[:3, 1] = pixel * np.array([0.0, np.cos(tilt), np.sin(tilt)])
        affine[2, 3] -= affine[2, 1] * (matrix - 1) / 2
    scanner = Scanner(
        Grid(affine, shape),
        thickness_mm=float(spacing * rng.uniform(*settings.thickness_to_spacing_ratio)),
        mtf50_per_mm=float(rng.uniform(*settings.mtf50_per_mm)),
        edge_enhancement=0.0,
        noise_hu=float(rng.uniform(*settings.noise_hu)),
        photon_starvation=0.0,
        round_field=bool(rng.random() < settings.round_field_fraction),
    )
    return BodyScan(
        kind=kind,
        scanner=scanner,
        pose=pose,
        shoulder_noise=float(rng.uniform(*settings.shoulder_noise)),
        hu_scale=float(np.clip(rng.normal(1.0, settings.hu_scale_sd), 0.85, 1.15)),
        hu_offset_hu=float(rng.normal(0.0, settings.hu_offset_sd_hu)),
        noise_seed=int(rng.integers(2**31)),
    )


def _draw_pose(body: Body, settings: BodySettings, rng: np.random.Generator) -> Floats:
    """Draw how far the person has rolled, about an axis along the table above it."""
    pose, axis = np.eye(4), np.array([0.0, body.plan.table_y_mm - 100.0, 0.0])
    roll = float(np.clip(rng.normal(0.0, settings.roll_sd_deg), -15.0, 15.0))
    pose[:3, :3] = Rotation.from_euler("z", roll, degrees=True).as_matrix()
    pose[:3, 3] = axis - pose[:3, :3] @ axis
    return pose


def _draw_range(body: Body, kind: ScanKind, rng: np.random.Generator) -> tuple[float, float]:
    """Draw the lowest and the highest z of a scan, in mm."""

    def at(level: str, low: float, high: float) -> float:
        """Return a height about a vertebra: 0 its center, +-0.5 the middles of the discs above and below."""
        levels = ("C0", *body.levels)
        index, part = levels.index(level), rng.uniform(low, high)
        toward = levels[index - 1] if part > 0 and index > 1 else levels[min(index + 1, len(levels) - 1)]
        here, there = (float(body.frames[name].center_mm[2]) for name in (level, toward))
        return here + abs(part) * (there - here)

    atlas, skull = float(body.frames["C1"].center_mm[2]), body.frames["C0"]
    vertex = float(skull.to_lps([0.0, 2.0, 166.0 * body.person.scale * body.size_factor**0.5])[2]) + rng.uniform(
        -10.0, 25.0
    )
    base = atlas + rng.uniform(16.0, 55.0)
    pelvis = float(body.plan.hips["left"][2]) + rng.uniform(-60.0, 60.0)
    ranges: dict[ScanKind, tuple[float, float]] = {
        "head": (atlas + rng.uniform(8.0, 40.0), vertex),
        "head to C2": (at("C2", -0.5, 0.4), vertex),
        "head to C3": (at("C3", -0.5, 0.5), vertex),
        "head to C4": (at("C4", -0.5, 0.5), vertex),
        "neck": (at(str(rng.choice(["T1", "T2", "T3", "T4"])), -0.5, 0.5), base),
        "head and neck": (at(str(rng.choice(["T2", "T3", "T4", "T5", "T6"])), -0.5, 0.5), vertex),
        "neck cut above": (
            at(str(rng.choice(["T1", "T2", "T3"])), -0.5, 0.5),
            at(str(rng.choice(["C1", "C2", "C3", "C4"])), -0.5, 0.5),
        ),
        "neck cut below": (at(str(rng.choice(["C5", "C6", "C7"])), -0.5, 0.5), base),
        "C5 and below": (at(str(rng.choice(["T2", "T6", "T10", "T12", "L2"])), -0.5, 0.5), at("C5", -0.4, 0.5)),
        "C3 to C6": (at("C6", -0.6, 0.3), at("C3", -0.3, 0.6)),
        "chest": (at(str(rng.choice(["T11", "T12", "L1", "L2"])), -0.5, 0.5), at("T2", -0.5, 1.0)),
        "chest from C7": (at(str(rng.choice(["T10", "T12", "L1"])), -0.5, 0.5), at("C7", -1.0, 1.0)),
        "abdomen": (pelvis, at(str(rng.choice(["T8", "T9", "T10", "T11"])), -0.5, 0.5)),
        "pan-scan": (pelvis, vertex),
        "pan-scan from skull base": (pelvis, base),
    }
    if kind in ranges:
        return ranges[kind]
    # Drawn only here, so that phantoms of the kinds above stay as they were before there were more. S1 is the last
    # level: half of the lumbar scans end at its center.
    others: dict[ScanKind, tuple[float, float]] = {
        "C6 and below": (at(str(rng.choice(["T2", "T6", "T10", "T12", "L2"])), -0.5, 0.5), at("C6", -0.4, 0.5)),
        "T3 and below": (at(str(rng.choice(["T10", "T12", "L2"])), -0.5, 0.5), at("T3", -0.4, 0.5)),
        "lumbar spine": (at("S1", -0.5, 0.5), at(str(rng.choice(["T11", "T12", "L1"])), -0.5, 0.5)),
    }
    return others[kind]


def _draw_field(kind: ScanKind, settings: BodySettings, rng: np.random.Generator) -> float:
    low, high = _FIELDS_MM[kind]
    if rng.random() < _WIDER_FRACTION:
        low, high = high, settings.field_of_view_mm[1]
    low, high = np.clip([low, high], *settings.field_of_view_mm).tolist()
    return float(rng.uniform(low, high))


def _draw_middle(
    body: Body,
    pose: Floats,
    z_range_mm: Range,
    field_mm: float,
    settings: BodySettings,
    rng: np.random.Generator,
) -> Floats:
    """Draw the center of the field of view, (2,): about the spine in small fields, about the body in large ones."""
    spine = np.array([(pose @ frame.affine)[:3, 3] for level, frame in body.frames.items() if level != "C0"])
    z, (low, high) = spine[:, 2], z_range_mm
    inside = (z > low - 15.0) & (z < high + 15.0)
    spine = spine[inside] if inside.any() else spine[:1]
    wide = float(np.clip((field_mm - 250.0) / 250.0, 0.0, 1.0))
    forward = 0.35 if high > body.frames["C1"].center_mm[2] + 60.0 else 0.0  # heads lie in front of the spine
    near = spine[:, 1].mean() + (0.06 - 0.25 * forward) * field_mm
    far = body.plan.table_y_mm - rng.uniform(90.0, 150.0)
    middle = np.array([spine[:, 0].mean(), (1 - wide) * near + wide * far])
    middle += rng.uniform(-1, 1, 2) * settings.off_center_fraction * field_mm * (1.0, 0.6)
    reach = max(0.5 * field_mm - _MIN_MARGIN_MM, 0.0)
    low_xy, high_xy = spine[:, :2].max(axis=0) - reach, spine[:, :2].min(axis=0) + reach
    clipped = np.clip(middle, low_xy, np.maximum(low_xy, high_xy))
    return np.asarray(np.where(low_xy > high_xy, 0.5 * (low_xy + high_xy), clipped))


_COVERAGE_STEP_MM: Final = 2.0


def describe_body(body: Body, scan: BodyScan) -> dict[str, Any]:
    """Return the truth of a scan, as JSON.

    Returns
    -------
    dict
        ``kind``; ``vertebrae``: level to ``frame`` (4, 4) and ``centroid_lps_mm`` of its bone, both in LPS of the scan,
        and ``scanned_fraction``; ``skull_frame``; ``disorders`` and ``variants``: names; ``person``; ``scan``.
    """
    frames = scan.frames(body)
    vertebrae = {}
    for level in body.levels:
        parts = body.vertebra_parts(level)
        box = bounding_box_of(parts)
        k, j, i = np.ceil((box[1] - box[0]) / _COVERAGE_STEP_MM).astype(int)[::-1].tolist()
        grid = Grid.aligned(box[0], _COVERAGE_STEP_MM, (k + 1, j + 1, i + 1))
        to_lps = frames[level] @ grid.affine
        points = np.argwhere(sample_distance(parts, grid) < 0) @ to_lps[:3, :3].T + to_lps[:3, 3]
        vertebrae[level] = {
            "frame": frames[level].tolist(),
            "centroid_lps_mm": points.mean(axis=0).tolist(),
            "scanned_fraction": float(np.mean(scan.scanner.covers(points))),
        }
    scanner = scan.scanner
    return {
        "kind": scan.kind,
        "vertebrae": vertebrae,
        "skull_frame": frames["C0"].tolist(),
        "disorders": list(body.disorders),
        "variants": list(body.variants.names),
        "arms": body.plan.arms,
        "person": {"sex": "F" if body.person.is_female else "M", "age_years": round(body.person.age_years, 1)},
        "scan": {
            "box_lps_mm": scan.box_lps_mm.tolist(),
            "voxel_mm": scanner.grid.spacing_mm.tolist(),
            "thickness_mm": scanner.thickness_mm,
            "blur_mm": scanner.psf_fwhm_mm,
            "noise_hu": scanner.noise_hu,
            "hu_scale": scan.hu_scale,
            "hu_offset_hu": scan.hu_offset_hu,
        },
    }
