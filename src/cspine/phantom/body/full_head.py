"""The skull in full, for scans that reach above the skull base: vault, base, temporal bones, sinuses.

Points are those of a head of mean size, in the frame of the skull (`cspine.phantom.anatomy.head`). The orbits lie at
z = 38, the hard palate at z = -2, the vertex at z = 155.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.organs import AIR
from cspine.phantom.body.face import face
from cspine.phantom.body.head_shape import HeadShape
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

FOSSAE: Final = (
    ((0.0, 12.0, 89.0), (66.0, 73.0, 60.0), 5.8),  # parietal and occipital
    ((0.0, -22.0, 91.0), (57.0, 62.0, 56.0), 6.3),  # frontal
    ((38.0, -16.0, 53.0), (28.0, 34.0, 26.0), 3.5),  # temporal
    ((-38.0, -16.0, 53.0), (28.0, 34.0, 26.0), 3.5),
    ((0.0, 36.0, 45.0), (52.0, 45.0, 29.0), 5.5),  # cerebellar
)
"""Ellipsoids whose union is the cranial cavity: center, radii, and thickness of the bone about it, in mm."""

_P_SCLEROTIC, _P_OPAQUE = 0.12, 0.15
"""Probability that the mastoid process has no air cells, and that a sinus is filled with mucus."""

_MUCUS_HU: Final = 25.0


def full_skull(plan: BodyPlan, rng: np.random.Generator) -> Iterator[HardTissue]:
    """Yield all bones of the head and the teeth, in LPS.

    Parameters
    ----------
    plan : BodyPlan
        Gives the shape of the head and its place.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    shape, frame = plan.head, plan.head.frame(plan.frames["C0"]).affine
    for bone in (
        *_cranium(shape, diploe_hu=rng.uniform(400.0, 950.0)),
        *_temporal_bones(shape, rng),
        *face(shape, rng),
        *_sinuses(shape, rng),
    ):
        yield replace(bone, frame=frame, is_skull=True)


def cranial_cavity(shape: HeadShape, shrink_mm: float = 0.0) -> list[Part]:
    """Return the cavity of the skull, `shrink_mm` smaller all around, in the frame of the skull."""
    return [
        Part(Ellipsoid(shape.at(*center), tuple(r - shrink_mm for r in shape.radii(*radii))), 3.0)
        for center, radii, _ in FOSSAE
    ]


def _cranium(shape: HeadShape, *, diploe_hu: float) -> Iterator[HardTissue]:
    at, outer = shape.at, []
    for center, radii, bone_mm in FOSSAE:
        thickness = bone_mm * shape.thickness
        outer.append(Part(Ellipsoid(at(*center), tuple(r + thickness for r in shape.radii(*radii))), 14.0))
    inner = [replace(cavity, is_cutout=True) for cavity in cranial_cavity(shape)]
    top = (-40.0, 34.0) if shape.is_flat_base else (-32.0, 43.0)
    base = [
        Part(Ellipsoid(at(0, 86, 50), (9.0, 6.0, 9.0)), 8.0),  # occipital protuberance
        Part(Rod(at(-34, 74, 46), at(34, 74, 46), (5.0, 5.0)), 8.0),  # nuchal line
        Part(Rod(at(0, -9, 12), at(0, *top), (5.0, 8.0), 2.4, (1, 0, 0)), 4.0),  # clivus
        Part(Rod(at(0, *top), at(0, top[0] - 3, top[1] + 8), (2.0, 1.6), 3.0, (1, 0, 0)), 2.0),  # dorsum sellae
        Part(Rod(at(0, 80, 60), at(0, 84, 92), (3.0, 2.0)), 5.0),  # internal occipital crest
    ]
    for side in SIDES:
        base += [
            Part(Rod(at(side * 13, 22, 14), at(side * 30, 44, 13), (3.5, 4.0), 2.4, (1, 1, 0)), 4.0),
            Part(Rod(at(side * 8, -46, 50), at(side * 42, -44, 62), (2.0, 1.6), 1.5, (0, 1, 0)), 3.0),  # sphenoid wing
        ]
    base.append(Part(Ellipsoid(at(0, 12, 14), (15.0, 18.0, 16.0)), 2.0, is_cutout=True))  # foramen magnum
    reach = float(np.clip(shape.lift_mm, -2.0, 4.0)) / 2  # condyles touch the atlas unless the skull lies much higher
    for side in SIDES:
        condyle = Ellipsoid((side * 16.5, 0.0, 13.6 - reach), (6.6, 11.0, 8.0 + reach))
        base.append(Part(condyle, 3.0))
    yield HardTissue((*outer, *inner, *base), 1.6, 1350.0, diploe_hu)


def _temporal_bones(shape: HeadShape, rng: np.random.Generator) -> Iterator[HardTissue]:
    at, is_sclerotic = shape.at, rng.random() < _P_SCLEROTIC
    for side in SIDES:
        petrous = Part(Rod(at(side * 15, -17, 26), at(side * 52, 4, 28), (6.0, 10.0), 1.2, (0, 0, 1)))
        mastoid = Part(Rod(at(side * 54, 8, 26), at(side * 51, 10, -4), (11.0, 5.5)), 4.0)
        yield HardTissue((petrous, mastoid), 1.6, 1350.0, 800.0)
        styloid = rods((at(side * 34, -10, 14), at(side * 29, -20, -12)), 1.8)
        yield HardTissue(styloid, 1.0, 1000.0, 700.0)
        n_cells = 0 if is_sclerotic else int(8 + 18 * shape.pneumatization)
        cells = []
        for along, radius in zip(rng.uniform(0, 1, n_cells), rng.uniform(1.8, 5.0, n_cells), strict=True):
            x, y = 54 - 3 * along + rng.normal(0, 4.0), 8 + rng.normal(0, 6.0)
            cells.append(Part(Ellipsoid(at(side * x, y, 30 - 30 * along), (radius, radius, radius)), 0.0))
        canal = Part(Rod(at(side * 36, -5, 25), at(side * 76, -4, 26), (4.0, 4.0)), 0.0)
        yield _air((*cells, canal), wall_mm=0.4)


def _sinuses(shape: HeadShape, rng: np.random.Generator) -> Iterator[HardTissue]:
    at, air = shape.at, shape.pneumatization
    ethmoid = [Part(Ellipsoid(at(side * 8, -70, 38), shape.radii(6.5, 19, 11)), 0.5) for side in SIDES]
    yield HardTissue(tuple(ethmoid), 1.2, 450.0, -750.0)
    yield from (
        HardTissue((Part(Rod(at(side * 3, y, 38), at(side * 13, y, 38), (0.8, 0.8), 10.0)),), 0.5, 300.0, 200.0)
        for side in SIDES
        for y in (-80, -70, -60)
    )
    for side in SIDES:
        maxillary = Ellipsoid(at(side * 29, -64, 8), shape.radii(15, 18, 12 + 6 * air))
        yield _air((Part(maxillary),), wall_mm=0.9, is_opaque=rng.random() < _P_OPAQUE)
        size = float(np.clip(air * rng.normal(1.0, 0.25), 0.05, 1.2))
        frontal = Ellipsoid(at(side * 12, -81, 56 + 9 * size), shape.radii(5 + 10 * size, 5, 5 + 10 * size))
        yield _air((Part(frontal),), wall_mm=1.0, is_opaque=rng.random() < _P_OPAQUE)
        sphenoid = Ellipsoid(at(side * 8, -44 + 3 * air, 34), shape.radii(4 + 6 * air, 6 + 8 * air, 5 + 6 * air))
        yield _air((Part(sphenoid),), wall_mm=1.0, is_opaque=rng.random() < _P_OPAQUE)


def _air(parts: tuple[Part, ...], *, wall_mm: float, is_opaque: bool = False) -> HardTissue:
    """Return cavities with a thin bony wall, filled with air or mucus."""
    return HardTissue(parts, wall_mm, 700.0, _MUCUS_HU if is_opaque else AIR)
