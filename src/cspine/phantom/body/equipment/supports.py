"""What a person lies on and is held by: table, mattress, head rest, pillow, thermoplastic mask, collar, blanket."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cspine.phantom.anatomy.organs import AIR, Organ, neck_half_width_mm
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.loft import Block, inflated
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import Box, vector
from cspine.phantom.geometry.solids import SIDES, CroppedSolid, Ellipsoid, Rod, Shell

_FAR_MM: Final = 1500.0
"""Length of a table, which the scan does not see the end of."""

_CARBON_HU: Final = (-350.0, 100.0)
"""Of a carbon shell of a table, 2 to 3 mm thick."""

_P_BOARD: Final = 0.35
"""Probability of a board on a flat table."""

_FOAM_HU: Final = (-975.0, -880.0)


def _block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Block:
    return Block(np.array([[x[0], y[0], z[0]], [x[1], y[1], z[1]]]))


def _in_air(*parts: Part, hu: float, edge_mm: float = 1.5) -> Organ:
    """Return an organ that replaces nothing but air."""
    return Organ(parts, hu, edge_mm, max_background_hu=AIR)


@dataclass(frozen=True)
class Support:
    """Where the head is held.

    Attributes
    ----------
    head_y_mm, head_z_mm : float
        The most posterior point of the head, and the height of its vertex.
    chin_z_mm, nape_z_mm : float
        Heights of the chin and of the root of the neck.
    x_mm : float
        Middle of the head.
    """

    head_y_mm: float
    head_z_mm: float
    chin_z_mm: float
    nape_z_mm: float
    x_mm: float

    @classmethod
    def of(cls, plan: BodyPlan) -> "Support":
        """Return where the head of a body is."""
        shape, skull = plan.head, plan.head.frame(plan.frames["C0"])
        occiput, vertex, chin = (skull.to_lps(shape.at(*point)) for point in ((0, 96, 70), (0, 10, 162), (0, -95, -66)))
        nape = plan.layout.canal["C7"]
        return cls(float(occiput[1]), float(vertex[2]), float(chin[2]), float(nape[2]), float(occiput[0]))


def table(plan: BodyPlan, rng: np.random.Generator, *, is_flat: bool) -> Iterator[Organ]:
    """Yield a table, flat or curved, with a carbon shell about a core of foam, and mostly a mattress on it."""
    support = Support.of(plan)
    shell_hu, core_hu, shell_mm = rng.uniform(*_CARBON_HU), rng.uniform(-960.0, -860.0), rng.uniform(1.5, 3.5)
    end = support.head_z_mm + rng.uniform(20.0, 300.0)
    z, y = (end - _FAR_MM, end), plan.table_y_mm
    half, depth = rng.uniform(200.0, 275.0), rng.uniform(35.0, 80.0)
    if rng.random() < 0.75:
        mattress = rng.uniform(8.0, 40.0)
        pad = _block((-half + 10, half - 10), (y - 25.0, y + mattress), z)
        yield _in_air(Part(pad, 0.0), hu=rng.uniform(*_FOAM_HU))
        cover = _block((-half + 10, half - 10), (y + mattress - 1.5, y + mattress), z)
        yield _in_air(Part(cover, 0.0), hu=rng.uniform(-700.0, -200.0))
        y += mattress
    if rng.random() < (_P_BOARD if is_flat else 0.1):
        yield from _board(rng, (0.7 * half, y), z)
        y += rng.uniform(35.0, 110.0)
    if is_flat:
        core = _block((-half, half), (y, y + depth), z)
        inside = _block((-half + 4, half - 4), (y + shell_mm, y + depth - shell_mm), z)
        yield _in_air(Part(core, 0.0), hu=shell_hu)
        yield Organ((Part(inside, 0.0),), core_hu, max_background_hu=shell_hu)
        return
    radius = rng.uniform(300.0, 600.0)
    rise = radius - float(np.sqrt(radius**2 - min(half, 0.9 * radius) ** 2))
    for inner_mm, thick_mm, hu in (
        (0.0, shell_mm, shell_hu),
        (shell_mm, depth * 0.4, core_hu),
        (0.4 * depth, shell_mm, shell_hu),
    ):
        outer = radius + inner_mm + thick_mm
        axis_y = y + 0.3 * rise - radius
        tube = Rod((0, axis_y, z[0] - outer), (0, axis_y, z[1] + outer), (outer, outer))
        limits: Box = np.array([[-half, y - rise, z[0]], [half, y + depth + rise, z[1]]])
        yield _in_air(Part(CroppedSolid(Shell(tube, thick_mm), limits), 0.0), hu=hu)


def _board(rng: np.random.Generator, edge: tuple[float, float], z: tuple[float, float]) -> Iterator[Organ]:
    """Yield a board that lies on the table, on rails, as arms and breasts are positioned by.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    edge : (float, float)
        The x of its left edge and the y of its surface.
    z : (float, float)
        Its extent along z.
    """
    half, y = edge
    hu, thick = rng.uniform(-300.0, 150.0), rng.uniform(2.0, 6.0)
    yield _in_air(Part(_block((-half, half), (y, y + thick), z), 0.0), hu=hu)
    depth, rail = rng.uniform(12.0, 30.0), rng.uniform(0.2, 0.9) * half
    for side in SIDES:
        x = side * rail
        yield _in_air(Part(_block((x - 5.0, x + 5.0), (y + thick, y + depth), z), 0.0), hu=rng.uniform(0.0, 1200.0))


def head_rest(plan: BodyPlan, rng: np.random.Generator, *, is_holder: bool) -> Iterator[Organ]:
    """Yield a block of foam or a pillow between table and head, or a holder: a half tube about the head."""
    support = Support.of(plan)
    x, top = support.x_mm, support.head_z_mm + rng.uniform(10.0, 60.0)
    bottom = support.nape_z_mm + rng.uniform(-10.0, 25.0)
    if not is_holder:
        half, high = rng.uniform(85.0, 150.0), support.head_y_mm - rng.uniform(15.0, 80.0)
        rest = _block((x - half, x + half), (high, max(plan.table_y_mm, support.head_y_mm + 8.0)), (bottom, top))
        yield _in_air(Part(rest, 0.0), hu=rng.uniform(*_FOAM_HU))
        if rng.random() < 0.5:  # a rest of plastic, hollow underneath
            sheet = rng.uniform(2.0, 4.0)
            y = support.head_y_mm + 2.0
            shell = (_block((x - half, x + half), (y, y + sheet), (bottom + 40, top)),)
            neck = Rod((x - half, y - 30, bottom + 30), (x + half, y - 30, bottom + 30), (26.0, 26.0))
            yield _in_air(
                *(Part(solid, 0.0) for solid in shell), Part(Shell(neck, sheet), 0.0), hu=rng.uniform(-400.0, 80.0)
            )
        return
    radius, y = rng.uniform(95.0, 125.0), support.head_y_mm + rng.uniform(4.0, 15.0)
    limits: Box = np.array([[x - radius, y - rng.uniform(60.0, 110.0), bottom + 20], [x + radius, y + 5, top]])
    for thick, out, hu in ((2.5, 0.0, rng.uniform(*_CARBON_HU)), (12.0, 2.5, rng.uniform(*_FOAM_HU))):
        tube = Rod((x, y - radius, bottom - radius), (x, y - radius, top + radius), (radius - out, radius - out))
        yield _in_air(Part(CroppedSolid(Shell(tube, thick), limits), 0.0), hu=hu)


def mask(plan: BodyPlan, outline: list[Part], rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a thermoplastic mask a few mm off the skin of face and shoulders, and its frame.

    Parameters
    ----------
    plan : BodyPlan
        The body.
    outline : list of Part
        Its skin.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    support, skull = Support.of(plan), plan.head.frame(plan.frames["C0"])
    gap, thick, hu = rng.uniform(1.0, 4.0), rng.uniform(1.8, 3.2), rng.uniform(-250.0, 250.0)
    with_shoulders = rng.random() < 0.6
    low = support.nape_z_mm - rng.uniform(60.0, 110.0) if with_shoulders else support.chin_z_mm - rng.uniform(0.0, 40.0)
    split_y = float(skull.to_lps([0, 15, 30])[1]) + rng.uniform(-5.0, 35.0)
    half = 190.0 if with_shoulders else 110.0
    limits: Box = np.array([[support.x_mm - half, -500.0, low], [support.x_mm + half, split_y, support.head_z_mm + 30]])
    outer = [inflated(part, gap + thick) for part in outline if _meets(part, limits)]
    sheet = [replace(part, solid=CroppedSolid(part.solid, limits)) for part in outer]
    sheet += [replace(inflated(part, -thick), blend_mm=0.0, is_cutout=True) for part in outer]
    yield _in_air(*sheet, hu=hu)
    out = [
        vector(support.x_mm + side * rng.uniform(95, 125), split_y, z)
        for side in SIDES
        for z in (low, support.head_z_mm + 10)
    ]
    frame = [out[0], out[1], out[3], out[2]]
    yield _in_air(*rods(frame, 3.5, 2.4, (1, 0, 0)), hu=rng.uniform(50.0, 300.0))
    plate = _block(
        (support.x_mm - 130, support.x_mm + 130),
        (plan.table_y_mm - 4, plan.table_y_mm + 4),
        (low, support.head_z_mm + 40),
    )
    yield _in_air(Part(plate, 0.0), hu=rng.uniform(-500.0, 100.0))


def _meets(part: Part, box: Box) -> bool:
    low, high = part.solid.bounding_box()
    return bool(np.all(high > box[0]) and np.all(low < box[1]))


def collar(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a cervical collar: foam about the neck with a shell of plastic, from the breastbone to the chin."""
    wide, at = neck_half_width_mm(plan.person), plan.layout
    low, high = at.front["T1"] + vector(0, 2, -25), at.front["C2"] + vector(0, -6, 10)
    support = Support.of(plan)
    foam_mm, size = rng.uniform(5.0, 12.0), rng.uniform(1.0, 1.12)
    ring = Rod(low, high, (wide * 1.35 * size, wide * 1.2 * size), 1.06, (0, 1, 0))
    box: Box = np.array(
        [[-180.0, -220.0, support.nape_z_mm - 12.0], [180.0, 120.0, support.chin_z_mm + rng.uniform(0, 25)]]
    )
    yield _in_air(Part(CroppedSolid(Shell(ring, foam_mm), box), 0.0), hu=rng.uniform(-960.0, -880.0))
    yield _in_air(Part(CroppedSolid(Shell(ring, 2.0), box), 0.0), hu=rng.uniform(-50.0, 200.0))


def blanket(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a blanket or sheets over the trunk: a thin layer at some distance from the skin."""
    skin = Trunk(plan).skin
    away, thick = rng.uniform(3.0, 25.0), rng.uniform(1.5, 8.0)
    top = float(skin.z_mm[-1]) - rng.uniform(0.0, 200.0)
    low, high = skin.bounding_box()
    limits: Box = np.array([[low[0] - 60, low[1] - 60, low[2]], [high[0] + 60, high[1] - 60.0, top]])
    yield _in_air(
        Part(CroppedSolid(Shell(skin.inset(-away - thick), thick), limits), 0.0), hu=rng.uniform(-960.0, -800.0)
    )


def pillow(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a pillow under head and shoulders, or cushions beside the head."""
    support = Support.of(plan)
    if rng.random() < 0.5:
        y = 0.5 * (support.head_y_mm + plan.table_y_mm)
        under = Ellipsoid((support.x_mm, y, support.head_z_mm - 70), (190.0, max(plan.table_y_mm - y, 25.0), 140.0))
        yield _in_air(Part(under, 0.0), hu=rng.uniform(-985.0, -930.0))
        return
    for side in SIDES:
        center = (support.x_mm + side * 105.0, support.head_y_mm - 60.0, support.head_z_mm - 90.0)
        yield _in_air(Part(Ellipsoid(center, (35.0, 70.0, 90.0)), 0.0), hu=rng.uniform(-975.0, -900.0))


def vacuum_cushion(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a bag of beads that is moulded to the sides of head, shoulders and trunk."""
    support = Support.of(plan)
    half, high = plan.chest_half_width_mm + rng.uniform(50.0, 110.0), plan.table_y_mm - rng.uniform(60.0, 110.0)
    bag = _block(
        (-half, half), (high, plan.table_y_mm), (support.nape_z_mm - 400.0, support.head_z_mm + rng.uniform(-100, 30))
    )
    yield _in_air(Part(bag, 0.0), hu=rng.uniform(-970.0, -900.0))
