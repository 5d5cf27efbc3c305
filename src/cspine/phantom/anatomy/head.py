"""Bones of the head and larynx: skull base, condyles, mandible, maxilla, teeth, hyoid, laryngeal cartilages.

The frame of the skull has its origin in the atlas at the dens, x to the left, y to the back and z upward, in mm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.person import Person
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, CroppedSolid, Ellipsoid, Rod, Shell


@dataclass(frozen=True)
class HardTissue:
    """Bone, ossified cartilage or a calcification that is not part of a vertebra.

    Attributes
    ----------
    parts : tuple of Part
        The solids, in `frame`.
    cortex_mm, cortex_hu : float
        Thickness and density of its outer layer.
    interior_hu : float
        Density of the interior, in HU.
    frame : (4, 4)
        From the frame of its parts to LPS.
    is_skull : bool
        Whether it is a bone of the head, which is labeled where requested.
    """

    parts: tuple[Part, ...]
    cortex_mm: float
    cortex_hu: float
    interior_hu: float
    frame: Floats = field(default_factory=lambda: np.eye(4))
    is_skull: bool = False


def skull(person: Person) -> Iterator[HardTissue]:
    """Yield the bones of the head, in the frame of the skull."""
    scale = person.scale
    vault = Ellipsoid((0.0, 2.0, 80.0 * scale), (69.0 * scale, 90.0 * scale, 76.0 * scale))
    half = np.array([[-120.0, -20.0, -20.0], [120.0, 120.0, 200.0]])
    base = [
        Part(CroppedSolid(Shell(vault, 5.5), half)),
        Part(Rod((0.0, -10.0, 11.0), (0.0, -32.0, 32.0), (5.0, 8.0), 2.2, (1, 0, 0)), 4.0),  # clivus
        Part(Rod((-40.0, -14.0, 27.0), (40.0, -14.0, 27.0), (4.0, 4.0), 1.6, (0, 1, 0)), 4.0),
    ]
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        base += [
            Part(Rod(mirror * (14.0, -14.0, 22.0), mirror * (50.0, 2.0, 26.0), (7.0, 10.0)), 4.0),  # petrous bone
            Part(Rod(mirror * (14.0, 8.0, 13.0), mirror * (44.0, 30.0, 22.0), (4.0, 4.0), 2.0, (1, 1, 0)), 4.0),
            Part(Rod(mirror * (13.0, 22.0, 14.0), mirror * (18.0, 44.0, 20.0), (3.5, 4.0), 2.4, (1, 0, 0)), 4.0),
        ]
    base.append(Part(Ellipsoid((0.0, 12.0, 14.0), (15.0, 18.0, 16.0)), 2.0, is_cutout=True))  # foramen magnum
    for side in SIDES:
        base.append(Part(Ellipsoid((side * 16.5, 0.0, 13.6), (6.6, 11.0, 8.0)), 3.0))  # condyles
    yield HardTissue(tuple(base), 1.6, 1350.0, 550.0)
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        mastoid = Part(Rod(mirror * (50.0, 6.0, 22.0), mirror * (49.0, 8.0, -2.0), (12.0, 6.0)))
        yield HardTissue((mastoid,), 1.4, 1200.0, -150.0)  # air cells
        yield HardTissue(
            (Part(Rod(mirror * (31.0, -12.0, 14.0), mirror * (26.0, -22.0, -14.0), (2.0, 1.4))),), 1.0, 1000.0, 700.0
        )
    yield from _jaws(scale)
    teeth = tuple(Part(Rod(crown, root, (radius, radius * 0.5)), 0.3) for crown, root, radius in crowns(person))
    yield HardTissue(teeth, 1.3, 2600.0, 1700.0)


def _jaws(scale: float) -> Iterator[HardTissue]:
    mandible = []
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0]) * (scale, scale, 1.0)
        head, angle = mirror * (50.0, -24.0, 16.0), mirror * (46.0, -32.0, -34.0)
        molar, chin = mirror * (27.0, -64.0, -44.0), mirror * (7.0, -92.0, -50.0)
        mandible += [
            Part(Ellipsoid(head, (8.0, 4.5, 5.0))),
            Part(Rod(head, angle, (3.6, 4.2), 3.2, (0, 1, 0))),
            Part(Rod(mirror * (47.0, -46.0, 6.0), mirror * (45.0, -44.0, -26.0), (3.0, 4.0), 2.0, (0, 1, 0)), 4.0),
            Part(Rod(angle, molar, (5.0, 5.4), 2.4), 4.0),
            Part(Rod(molar, chin, (5.4, 6.0), 2.5), 4.0),
        ]
    mandible.append(Part(Ellipsoid((0.0, -94.0 * scale, -54.0), (12.0, 6.5, 10.0)), 4.0))
    yield HardTissue(tuple(mandible), 2.4, 1450.0, 350.0)
    maxilla = []
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0]) * (scale, scale, 1.0)
        maxilla += [
            Part(Rod(mirror * (26.0, -48.0, -6.0), mirror * (8.0, -86.0, -8.0), (6.0, 5.0), 1.2), 4.0),
            Part(Shell(Ellipsoid(mirror * (27.0, -62.0, 30.0), (15.0, 19.0, 18.0)), 1.6), 1.0),
            Part(Rod(mirror * (40.0, -66.0, 36.0), mirror * (62.0, -26.0, 30.0), (3.0, 2.4), 1.6)),  # cheek bone
        ]
    maxilla.append(
        Part(Rod((0.0, -50.0 * scale, 6.0), (0.0, -84.0 * scale, 3.0), (1.6, 2.0), 12.0, (1, 0, 0)), 3.0)
    )  # palate
    maxilla.append(Part(Rod((0.0, -44.0, 24.0), (0.0, -84.0, 24.0), (0.7, 0.8), 16.0), 0.5))  # septum
    yield HardTissue(tuple(maxilla), 1.4, 1250.0, 450.0)


def crowns(person: Person) -> list[tuple[Floats, Floats, float]]:
    """Return the crown (3,), the apex of the root (3,) and the radius of each tooth, in the frame of the skull."""
    scale, teeth = person.scale, []
    for number in range(14):
        angle = np.radians(-72.0 + 144.0 * number / 13)
        x, y = 27.0 * scale * np.sin(angle), -52.0 * scale - 38.0 * scale * np.cos(angle) ** 1.5
        radius = 2.7 + 1.8 * float(np.sin(angle)) ** 2
        for crown, root in ((-16.5, -4.0), (-18.5, -36.0)):
            teeth.append((vector(x, y, crown), vector(x * 0.97, y + 2.0, root), radius))
    return teeth


def larynx(person: Person, front: Floats, low: Floats) -> Iterator[HardTissue]:
    """Yield the hyoid and the laryngeal cartilages, in LPS.

    Parameters
    ----------
    person : Person
        Whose age determines how far the cartilages are ossified.
    front, low : (3,)
        Anterior wall of the bodies of C3 and C6, in LPS.
    """
    horn = [
        Part(
            Rod(front + vector(side * 20.0, -8.0, 2.0), front + vector(side * 11.0, -36.0, -4.0), (1.6, 2.2), 1.6), 1.0
        )
        for side in SIDES
    ]
    horn.append(Part(Rod(front + vector(-11.0, -36.0, -4.0), front + vector(11.0, -36.0, -4.0), (2.4, 2.4), 2.0), 2.0))
    yield HardTissue(tuple(horn), 0.9, 900.0, 350.0)
    ossified = float(np.clip((person.age_years - 25.0) / 50.0, 0.05, 1.0))
    plates = [
        Part(Rod(low + vector(side * 21.0, -12.0, 20.0), low + vector(side * 2.0, -38.0, 16.0), (1.3, 1.3), 9.0), 1.5)
        for side in SIDES
    ]
    yield HardTissue(tuple(plates), 0.8, 150.0 + 450.0 * ossified, 90.0 + 60.0 * ossified)
    ring = [
        Part(Rod(low + vector(-11.0, -14.0, 2.0), low + vector(11.0, -14.0, 2.0), (2.0, 2.0), 4.2), 2.0),
        *(
            Part(
                Rod(low + vector(side * 12.0, -15.0, 0.0), low + vector(side * 3.0, -34.0, -3.0), (2.0, 1.8), 1.9), 2.0
            )
            for side in SIDES
        ),
    ]
    yield HardTissue(tuple(ring), 0.8, 150.0 + 500.0 * ossified, 90.0 + 80.0 * ossified)
