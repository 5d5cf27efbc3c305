"""Soft tissue as solids of one material each: body outline, brain, cord, airway, vessels, glands, lungs.

Positions are in LPS with the origin in the body of C4, and follow the frames of the vertebrae.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.geometry.distance_fields import partial_volume
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, bounding_box_of, rods, sample_distance
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

AIR, LUNG, FAT, CSF, SKIN, CORD = -1000.0, -830.0, -85.0, 12.0, 20.0, 38.0
BRAIN = 36.0
MUSCLE, BLOOD, DISC, GLAND = 58.0, 60.0, 95.0, 100.0
"""HU of tissues: typical values (docs/concepts/phantom.md)."""

_BACKGROUND_TOLERANCE_HU = 50.0


@dataclass(frozen=True)
class Layout:
    """Points about the spine that soft tissue is placed by.

    Attributes
    ----------
    canal : dict
        Level to the center of the spinal canal, (3,) in LPS.
    front : dict
        Level to the anterior wall of the vertebral body, (3,) in LPS.
    frames : dict
        Level to the frame of the vertebra.
    """

    canal: dict[str, Floats]
    front: dict[str, Floats]
    frames: Mapping[str, Frame]

    def anterior_to(self, level: str, y: float, x: float = 0.0, z: float = 0.0) -> Floats:
        """Return the point `y` mm in front of the body of a level, shifted by x and z in mm, in LPS."""
        return self.front[level] + vector(x, -y, z)


@dataclass(frozen=True)
class Organ:
    """Solids of one material.

    Attributes
    ----------
    parts : tuple of Part
        The solids, whose union it is.
    hu : float
        Density of the material, in HU.
    edge_mm : float
        Width of its blurred border.
    max_background_hu : float or None
        Where given, the organ replaces only what has at most about this HU.
    """

    parts: tuple[Part, ...]
    hu: float
    edge_mm: float = 1.5
    max_background_hu: float | None = None


def composite_organ(hu: Floats32, organ: Organ, grid: Grid) -> None:
    """Composite an organ over an image by the fraction of each voxel that it fills.

    Parameters
    ----------
    hu : (k, j, i) float32
        HU on the grid; changed in place.
    organ : Organ
        In the frame of the grid.
    grid : Grid
        Voxels of the image.
    """
    window = grid.window(bounding_box_of(organ.parts), organ.edge_mm)
    if window is None:
        return
    distance = sample_distance(organ.parts, grid.crop(window), truncation_mm=organ.edge_mm)
    fraction = partial_volume(distance, organ.edge_mm)
    if organ.max_background_hu is not None:
        fraction = fraction * (hu[window] <= organ.max_background_hu + _BACKGROUND_TOLERANCE_HU)
    hu[window] += fraction * (np.float32(organ.hu) - hu[window])


def layout_along_spine(person: Person, frames: Mapping[str, Frame]) -> Layout:
    """Return the points that soft tissue is placed by, given the frames of the vertebrae."""
    canal, front = {}, {}
    for level in STACK:
        measures = person.measures[level]
        if level == "C1":
            canal[level], front[level] = frames[level].to_lps([0, 8.0, 0]), frames[level].to_lps([0, -15.0, 0])
            continue
        half = measures["body depth below"] / 2
        canal[level] = frames[level].to_lps([0, half + measures["canal depth"] / 2, 0])
        front[level] = frames[level].to_lps([0, -half, 0])
    return Layout(canal, front, frames)


def neck_half_width_mm(person: Person) -> float:
    """Return half the width of the neck."""
    return (54.0 + 16.0 * person.girth) * person.scale


def draw_body(person: Person, layout: Layout, rng: np.random.Generator) -> list[Part]:
    """Draw the body whose surface is the skin: neck, shoulders and head."""
    scale, wide = person.scale, neck_half_width_mm(person)
    deep = 1.06 + 0.06 * rng.uniform(-1, 1)
    low, middle, high = (layout.front[level] + vector(0, 2.0, 0) for level in ("T1", "C5", "C2"))
    parts = [
        Part(Rod(low + vector(0, 6, -25), middle, (wide * 1.22, wide), deep, (0, 1, 0)), 10.0),
        Part(Rod(middle, high + vector(0, -4, 12), (wide, wide * 0.98), deep, (0, 1, 0)), 15.0),
    ]
    for side in SIDES:
        shoulder = low + vector(side * 115.0 * scale, 22.0, -46.0)
        parts.append(Part(Rod(low + vector(side * 20, 18, -30), shoulder, (62.0 * scale, 60.0 * scale), 0.9), 35.0))
    parts.append(Part(Ellipsoid(low + vector(0, -8, -90), (150.0 * scale, 98.0 * scale, 78.0)), 30.0))
    head = layout.frames["C0"]
    parts += [
        Part(Ellipsoid(head.to_lps([0, 2, 78]), (76.0 * scale, 99.0 * scale, 88.0 * scale), head.axes), 15.0),
        Part(
            Rod(head.to_lps([0, -58, 10]), head.to_lps([0, -66, -22]), (46.0 * scale, 33.0 * scale), 1.05, (0, 1, 0)),
            22.0,
        ),
        Part(Ellipsoid(head.to_lps([0, -104 * scale, 8]), (14.0, 18.0, 24.0), head.axes), 14.0),  # nose and lips
    ]
    return parts


def draw_organs(layout: Layout, rng: np.random.Generator) -> Iterator[Organ]:
    """Draw the organs within the body, in the order in which they are composited."""
    head = layout.frames["C0"]
    yield Organ((Part(Ellipsoid(head.to_lps([0.0, 2.0, 80.0]), (66.0, 87.0, 73.0), head.axes)),), BRAIN)
    yield from _canal(layout)
    yield from _airway(layout, rng)
    yield from _vessels(layout, rng)
    for side in SIDES:
        lobe = layout.anterior_to("C7", 16.0, side * 19.0)
        yield Organ((Part(Ellipsoid(lobe, (7.0, 9.0, 19.0))),), GLAND)
        apex = layout.anterior_to("T2", 2.0, side * 46.0, -16.0 + 6.0 * rng.normal())
        yield Organ((Part(Ellipsoid(apex, (32.0, 44.0, 36.0))),), LUNG)


def _canal(layout: Layout) -> Iterator[Organ]:
    path = [*(layout.canal[level] for level in STACK), layout.frames["C0"].to_lps([0, 6.0, 45.0])]
    below_t2 = path[0] - (path[1] - path[0]) * 2
    path = [below_t2, *path]
    for hu, radius, aspect_ratio in ((CSF, 5.6, 1.5), (CORD, 3.7, 1.6)):
        yield Organ(rods(path, radius, aspect_ratio, (1, 0, 0)), hu)


def _airway(layout: Layout, rng: np.random.Generator) -> Iterator[Organ]:
    gap = 5.0 + 2.0 * rng.random()
    nose, palate = layout.anterior_to("C1", gap + 9.0, 0, 14.0), layout.anterior_to("C1", gap + 6.0, 0, -4.0)
    throat, base = layout.anterior_to("C3", gap + 7.0), layout.anterior_to("C4", gap + 8.0)
    larynx, ring = layout.anterior_to("C5", gap + 14.0), layout.anterior_to("C6", gap + 15.0)
    trachea, end = layout.anterior_to("C7", gap + 15.0), layout.anterior_to("T2", gap + 19.0, 0, -30.0)
    yield Organ(
        (Part(Rod(larynx + vector(0, 6, 0), end + vector(0, 12, 0), (4.5, 5.5), 1.5, (1, 0, 0))),), 40.0
    )  # esophagus
    wide = rng.uniform(0.8, 1.25)
    air = [
        Part(Rod(nose, palate, (6.5, 5.0), 1.7, (1, 0, 0))),
        Part(Rod(palate, throat, (5.0, 6.0 * wide), 1.9, (1, 0, 0))),
        Part(Rod(throat, base, (6.0 * wide, 6.5), 1.8, (1, 0, 0))),
        Part(Rod(base, larynx, (6.0, 4.0), 1.1, (0, 1, 0))),
        Part(Rod(larynx, ring, (3.0, 7.0), 1.2, (0, 1, 0))),
        Part(Rod(ring, trachea, (8.0, 8.5), 1.05, (1, 0, 0))),
        Part(Rod(trachea, end, (8.5, 9.0), 1.05, (1, 0, 0))),
    ]
    head = layout.frames["C0"]
    nasal = [
        Part(Rod(head.to_lps([side * 5.0, -38, 20]), head.to_lps([side * 6.0, -84, 26]), (3.4, 3.0), 3.4), 0.5)
        for side in SIDES
    ]
    sinuses = [Part(Ellipsoid(head.to_lps([side * 27.0, -62, 30]), (13.0, 17.0, 16.0)), 0.5) for side in SIDES]
    mouth = [Part(Rod(head.to_lps([0, -40, 0]), head.to_lps([0, -78, -4]), (1.2, 1.0), 12.0, (1, 0, 0)), 0.5)]
    yield Organ(tuple(air), AIR, 1.0)
    yield Organ(tuple(nasal + sinuses + mouth), AIR, 1.0)


def _vessels(layout: Layout, rng: np.random.Generator) -> Iterator[Organ]:
    blood = 48.0 if rng.random() < 0.7 else rng.uniform(180.0, 380.0)
    for side in SIDES:
        for x, y, radius in ((24.0, 9.0, 3.4), (31.0, 5.0, 4.6 + rng.random() * 2.5)):
            path = [
                layout.anterior_to(level, y, side * (x + shift))
                for level, shift in (("T2", -8), ("C6", 0), ("C4", 0), ("C1", 3))
            ]
            yield Organ(rods(path, radius), blood)
        levels = ("C6", "C5", "C4", "C3")
        foramina = [layout.frames[level].to_lps([side * 14.6, 1.2, 0]) for level in levels]
        yield Organ(rods(foramina, 1.9, blend_mm=2.0), blood, 0.8)
