"""Mimics of the axis: scars at the base of the dens, its canals and cysts, worn joints with the atlas."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.axis import DENS_TILT_DEG, dens_base_z
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Lesion, sclerosis
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod
from cspine.phantom.mimics.change import MimicChange, cyst

FACET_LEAN_DEG: Final = 24.0
FACET_RADII_MM: Final = (7.6, 8.2, 4.8)
"""Slope and radii of the superior facets of C2, as `cspine.phantom.anatomy.axis.axis` draws them."""


def facet_center(neck: Neck, side: float) -> Floats:
    """Return the center of a superior facet of C2, in its frame."""
    return vector(side * 15.0, 0.5, neck.person.measures["C2"]["body height"] / 2 - 1.6)


def dens_point(neck: Neck, up_mm: float) -> Floats:
    """Return a point of the axis of the dens, given its height above the base of the dens, in the frame of C2."""
    lean = np.radians(DENS_TILT_DEG)
    return vector(0.0, -1.0 + np.sin(lean) * up_mm, dens_base_z(neck.person.measures["C2"]) + np.cos(lean) * up_mm)


def subdental_synchondrosis(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw what is left of the synchondrosis between dens and body: a sclerotic scar, a dark disc, or dark clefts."""
    center = dens_point(neck, -rng.uniform(-0.5, 5.0)) + vector(rng.normal(0, 0.5), rng.normal(0, 0.6), 0.0)
    axes = Rotation.from_euler("xy", [-DENS_TILT_DEG + rng.normal(0, 7.0), rng.normal(0, 5.0)], degrees=True)
    matrix, kind = axes.as_matrix(), rng.random()
    wide = np.array([rng.uniform(2.5, 6.0), rng.uniform(2.5, 5.0)])
    lesions: list[Lesion] = []
    points = [center]
    if kind < 0.4:  # a line of dense bone, often incomplete
        hu = float(rng.uniform(550.0, 1050.0))
        lesions.append(sclerosis(center, (*wide, rng.uniform(0.4, 0.9)), hu, axes=matrix, edge_mm=0.7))
    elif kind < 0.75:  # a dark disc between two dense lines
        thick, hu = rng.uniform(0.35, 1.1), float(rng.uniform(20.0, 170.0))
        rim = float(rng.uniform(450.0, 1000.0))
        lesions.append(sclerosis(center, (*(wide + 0.8), thick + rng.uniform(0.5, 1.0)), rim, axes=matrix, edge_mm=0.8))
        lesions.append(Lesion(center, (*wide, thick), hu, axes=matrix, edge_mm=0.6))
    else:  # dark clefts at the sides
        points = [center + matrix @ vector(side * rng.uniform(2.0, 4.0), 0.0, 0.0) for side in SIDES]
        hu = float(rng.uniform(20.0, 170.0))
        for point in points:
            radii = (rng.uniform(1.0, 2.4), rng.uniform(1.5, 4.0), rng.uniform(0.35, 0.9))
            lesions.append(Lesion(point, radii, hu, axes=matrix, edge_mm=0.6))
    reach = float(wide.max()) + 1.0
    yield MimicChange(
        name="subdental synchondrosis", level="C2", points_mm=tuple(points), reach_mm=reach, lesions=tuple(lesions)
    )


def dens_canals(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw one to four canals of vessels that enter the base of the dens from its sides, front or back."""
    half = neck.person.measures["C2"]["dens width"] / 2
    canals, points = [], []
    for _ in range(int(rng.integers(1, 5))):
        axis, angle = dens_point(neck, rng.uniform(-3.0, 4.0)), rng.uniform(0, 2 * np.pi)
        outward = vector(np.sin(angle), np.cos(angle), 0.0)
        start, end = axis + (half + 1.5) * outward, axis + rng.uniform(0.0, 2.5) * outward
        end = end + vector(0.0, 0.0, rng.normal(0, 1.2))
        canals.append(Part(Rod(start, end, (rng.uniform(0.4, 0.9), 0.25)), 0.2, is_cutout=True))
        points.append(0.5 * (start + end))
    yield MimicChange(
        name="dens canal", level="C2", points_mm=tuple(points), reach_mm=half / 2 + 1.0, canals=tuple(canals)
    )


def dens_cysts(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw one to three cysts of the dens, most of them near its anterior joint."""
    measures = neck.person.measures["C2"]
    depth, width = measures["dens depth"] / 2, measures["dens width"] / 2
    lesions, points = [], []
    for _ in range(int(rng.integers(1, 4))):
        up = rng.uniform(0.05, 0.75) * measures["dens height"]
        offset = vector(
            rng.uniform(-0.6, 0.6) * width, rng.choice([-1.0, -1.0, 1.0]) * rng.uniform(0.3, 0.75) * depth, 0
        )
        points.append(dens_point(neck, up) + offset)
        lesions += list(cyst(points[-1], float(rng.uniform(0.7, 2.0)), rng))
    yield MimicChange(name="dens cyst", level="C2", points_mm=tuple(points), reach_mm=2.5, lesions=tuple(lesions))


def atlantoaxial_arthrosis(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw spurs of the dens and of the lateral joints, dense bone beneath these, and cysts."""
    height = neck.person.measures["C2"]["dens height"]
    tip = dens_point(neck, 0.9 * height) + vector(rng.normal(0, 2.0), rng.uniform(-4.0, 0.0), 0.0)
    size = rng.uniform(0.8, 2.4)
    parts = [Part(Ellipsoid(tip, (1.6 * size, 1.1 * size, size)), 1.2)]
    lesions, points = [], [tip]
    for side in SIDES:
        if rng.random() < 0.35:
            continue
        facet = facet_center(neck, side)
        radii = (rng.uniform(3.0, 6.5), rng.uniform(3.0, 7.0), rng.uniform(1.0, 2.2))
        lean = Rotation.from_euler("y", side * FACET_LEAN_DEG, degrees=True).as_matrix()
        top = facet + lean @ vector(rng.normal(0, 1.5), rng.normal(0, 1.5), FACET_RADII_MM[2] - 1.0)
        lesions.append(sclerosis(top, radii, float(rng.uniform(600.0, 1200.0)), axes=lean))
        points.append(top)
        for _ in range(int(rng.integers(0, 3))):
            place = top - lean @ vector(rng.normal(0, 2.5), rng.normal(0, 2.5), 1.5)
            lesions += list(cyst(place, float(rng.uniform(0.6, 1.6)), rng))
        rim = facet + lean @ vector(side * FACET_RADII_MM[0], rng.uniform(-4.0, 4.0), 0.5)
        grown = rng.uniform(0.8, 2.2)
        parts.append(Part(Ellipsoid(rim, (grown, 1.4 * grown, 0.8 * grown)), 1.2))
    yield MimicChange(
        name="atlantoaxial arthrosis", level="C2", points_mm=tuple(points), reach_mm=5.0, parts=tuple(parts),
        lesions=tuple(lesions),
    )  # fmt: skip


def narrow_atlantoaxial_joint(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw lateral masses that reach down to the facets of C2 but for a slit."""
    to_c1 = np.linalg.inv(neck.frames["C1"].affine) @ neck.frames["C2"].affine
    parts, points = [], []
    gap = rng.uniform(0.5, 1.8)
    for side in SIDES:
        width = max(gap + rng.normal(0, 0.3), 0.4)
        lean = Rotation.from_euler("y", side * FACET_LEAN_DEG, degrees=True).as_matrix()
        facet = facet_center(neck, side)
        pad = facet + lean @ vector(0.0, 0.0, FACET_RADII_MM[2] + width + 1.2)
        slit = facet + lean @ vector(0.0, 0.0, FACET_RADII_MM[2] + width / 2)
        center, below, middle = (to_c1[:3, :3] @ point + to_c1[:3, 3] for point in (pad, facet, slit))
        axes = to_c1[:3, :3] @ lean
        parts.append(Part(Ellipsoid(center, (6.3, 7.2, 3.8), axes), 1.5))
        parts.append(Part(Ellipsoid(below, np.add(FACET_RADII_MM, width), axes), 0.3, is_cutout=True))
        points.append(middle)
    yield MimicChange(
        name="narrow atlantoaxial joint", level="C1", points_mm=tuple(points), reach_mm=3.0, parts=tuple(parts)
    )


def ossified_dens_ligaments(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw calcifications behind and above the dens (crowned dens), or an ossicle at its tip."""
    measures, tissues = neck.person.measures["C2"], []
    frame, depth, height = neck.frames["C2"].affine, measures["dens depth"] / 2, measures["dens height"]
    points = []
    if rng.random() < 0.7:
        behind = dens_point(neck, rng.uniform(0.3, 0.7) * height) + vector(0.0, depth + rng.uniform(1.2, 2.5), 0.0)
        ends = [vector(side * rng.uniform(2.0, 6.0), -rng.uniform(0.0, 2.5), rng.normal(0, 1.0)) for side in SIDES]
        path = [behind + ends[0], behind, behind + ends[1]]
        tissues.append(HardTissue(rods(path, rng.uniform(0.5, 1.1)), 0.4, 800.0, 450.0, frame))
        points.append(behind)
    if rng.random() < 0.6 or not tissues:
        above = dens_point(neck, height + rng.uniform(0.5, 2.5)) + vector(rng.normal(0, 2.0), rng.normal(-1, 1.5), 0.0)
        size = rng.uniform(0.8, 2.0)
        ossicle = Part(Ellipsoid(above, (1.4 * size, 1.2 * size, 0.8 * size)), 0.0)
        tissues.append(HardTissue((ossicle,), 0.6, 900.0, 400.0, frame))
        points.append(above)
    yield MimicChange(name="ossified dens ligament", level="C2", points_mm=tuple(points), hard_tissues=tuple(tissues))
