"""What surrounds the bones: skin, fat, muscle, cord, airway, gullet, vessels, glands, lungs.

Places are LPS in mm about C4's body, led by the vertebrae's frames.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cspine.phantom.anatomy.grid import Grid, Part, around, rods, sample
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.anatomy.solids import SIDES, Ellipsoid, Field, Place, Rod, by, cover, smoothstep
from cspine.phantom.anatomy.texture import Texture

AIR, LUNG, FAT, CSF, SKIN, CORD = -1000.0, -830.0, -85.0, 12.0, 20.0, 38.0
BRAIN = 36.0
MUSCLE, BLOOD, DISC, GLAND = 58.0, 60.0, 95.0, 100.0
"""HU; of ranges in the project's design notes the middles."""


@dataclass(frozen=True)
class Layout:
    """Places that soft tissue is built about.

    Attributes
    ----------
    canal, front : dict
        Level to the middle of the canal and to just before the body, LPS.
    """

    canal: dict[str, Place]
    front: dict[str, Place]
    frames: Mapping[str, Frame]

    def before(self, level: str, y: float, x: float = 0.0, z: float = 0.0) -> Place:
        """Return the place `y` mm before a level's body, in the patient's axes."""
        return self.front[level] + by(x, -y, z)


@dataclass(frozen=True)
class Organ:
    """Solids of one material.

    Attributes
    ----------
    edge_mm : float
        How soft its border is.
    over : float or None
        Paint only where there is no more than this HU.
    """

    parts: tuple[Part, ...]
    hu: float
    edge_mm: float = 1.5
    over: float | None = None


def lay_out(person: Person, frames: Mapping[str, Frame]) -> Layout:
    """Find the places that soft tissue is built about."""
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


def soft_tissue(person: Person, layout: Layout, grid: Grid, texture: Texture, rng: np.random.Generator) -> Field:
    """Return HU of everything but bone on a lattice.

    Parameters
    ----------
    person : Person
        Whose girth counts.
    layout : Layout
        Where things are.
    grid : Grid
        In LPS; 1 to 2 mm suffice.
    texture : Texture
        Of the septa between muscles.
    rng : numpy Generator
        For what differs between people.
    """
    skin = sample(_body(person, layout, rng), grid, reach_mm=25.0)
    fat_mm = np.float32(2.0 + 9.0 * person.girth)
    _, y, _ = grid.points().coordinates((0, 0, 0))
    behind = smoothstep(y - np.float32(layout.canal["C4"][1]), 0.0, 40.0)
    depth, edge = -skin, float(grid.spacing_mm.max())
    septa = texture.on(grid, scale=(45.0, 12.0, 12.0))
    muscle = np.float32(MUSCLE) - np.float32(60.0 + 70 * person.girth) * np.exp(-((septa / np.float32(0.16)) ** 2))
    layers = ((SKIN, 0.0), (FAT, 2.0), (muscle, fat_mm * (1 + behind)))
    hu = np.full(grid.shape, AIR, np.float32)
    for value, start in layers:
        hu += np.clip((depth - start) / np.float32(edge) + np.float32(0.5), 0, 1) * (value - hu)
    for organ in _organs(layout, rng):
        paint(hu, organ, grid)
    return hu


def paint(hu: Field, organ: Organ, grid: Grid) -> None:
    """Paint an organ over what is there."""
    window = grid.window(around(organ.parts), organ.edge_mm)
    if window is None:
        return
    share = cover(sample(organ.parts, grid.part(window), reach_mm=organ.edge_mm), organ.edge_mm)
    if organ.over is not None:
        share = share * (hu[window] <= organ.over + 50.0)
    hu[window] += share * (np.float32(organ.hu) - hu[window])


def neck_half_mm(person: Person) -> float:
    """Return half the neck's width."""
    return (54.0 + 16.0 * person.girth) * person.scale


def _body(person: Person, layout: Layout, rng: np.random.Generator) -> list[Part]:
    """Return the outline of neck, shoulders and head."""
    big, wide = person.scale, neck_half_mm(person)
    deep = 1.06 + 0.06 * rng.uniform(-1, 1)
    low, middle, high = (layout.front[level] + by(0, 2.0, 0) for level in ("T1", "C5", "C2"))
    parts = [
        Part(Rod(low + by(0, 6, -25), middle, (wide * 1.22, wide), deep, (0, 1, 0)), 10.0),
        Part(Rod(middle, high + by(0, -4, 12), (wide, wide * 0.98), deep, (0, 1, 0)), 15.0),
    ]
    for side in SIDES:
        shoulder = low + by(side * 115.0 * big, 22.0, -46.0)
        parts.append(Part(Rod(low + by(side * 20, 18, -30), shoulder, (62.0 * big, 60.0 * big), 0.9), 35.0))
    parts.append(Part(Ellipsoid(low + by(0, -8, -90), (150.0 * big, 98.0 * big, 78.0)), 30.0))
    head = layout.frames["C0"]
    parts += [
        Part(Ellipsoid(head.to_lps([0, 2, 78]), (76.0 * big, 99.0 * big, 88.0 * big), head.axes), 15.0),
        Part(
            Rod(head.to_lps([0, -58, 10]), head.to_lps([0, -66, -22]), (46.0 * big, 33.0 * big), 1.05, (0, 1, 0)), 22.0
        ),
        Part(Ellipsoid(head.to_lps([0, -104 * big, 8]), (14.0, 18.0, 24.0), head.axes), 14.0),  # nose and lips
    ]
    return parts


def _organs(layout: Layout, rng: np.random.Generator) -> Iterator[Organ]:
    head = layout.frames["C0"]
    yield Organ((Part(Ellipsoid(head.to_lps([0.0, 2.0, 80.0]), (66.0, 87.0, 73.0), head.axes)),), BRAIN)
    yield from _canal(layout)
    yield from _airway(layout, rng)
    yield from _vessels(layout, rng)
    for side in SIDES:
        lobe = layout.before("C7", 16.0, side * 19.0)
        yield Organ((Part(Ellipsoid(lobe, (7.0, 9.0, 19.0))),), GLAND)
        apex = layout.before("T2", 2.0, side * 46.0, -16.0 + 6.0 * rng.normal())
        yield Organ((Part(Ellipsoid(apex, (32.0, 44.0, 36.0))),), LUNG)


def _canal(layout: Layout) -> Iterator[Organ]:
    chain = [*(layout.canal[level] for level in STACK), layout.frames["C0"].to_lps([0, 6.0, 45.0])]
    low = chain[0] - (chain[1] - chain[0]) * 2
    chain = [low, *chain]
    for hu, radius, flat in ((CSF, 5.6, 1.5), (CORD, 3.7, 1.6)):
        yield Organ(rods(chain, radius, flat, (1, 0, 0)), hu)


def _airway(layout: Layout, rng: np.random.Generator) -> Iterator[Organ]:
    gap = 5.0 + 2.0 * rng.random()
    nose, palate = layout.before("C1", gap + 9.0, 0, 14.0), layout.before("C1", gap + 6.0, 0, -4.0)
    throat, base = layout.before("C3", gap + 7.0), layout.before("C4", gap + 8.0)
    larynx, ring = layout.before("C5", gap + 14.0), layout.before("C6", gap + 15.0)
    trachea, end = layout.before("C7", gap + 15.0), layout.before("T2", gap + 19.0, 0, -30.0)
    yield Organ((Part(Rod(larynx + by(0, 6, 0), end + by(0, 12, 0), (4.5, 5.5), 1.5, (1, 0, 0))),), 40.0)  # gullet
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
            chain = [
                layout.before(level, y, side * (x + jog))
                for level, jog in (("T2", -8), ("C6", 0), ("C4", 0), ("C1", 3))
            ]
            yield Organ(rods(chain, radius), blood)
        levels = ("C6", "C5", "C4", "C3")
        holes = [layout.frames[level].to_lps([side * 14.6, 1.2, 0]) for level in levels]
        yield Organ(rods(holes, 1.9, blend_mm=2.0), blood, 0.8)
