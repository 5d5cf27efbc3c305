"""The bones of the head and larynx: skull base, condyles, mandible, maxilla, teeth, hyoid, cartilages.

In the frame of the skull: origin where the dens stands in the atlas, x left, y back, z up, in mm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cspine.phantom.anatomy.grid import Part
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.solids import SIDES, Cropped, Ellipsoid, Place, Rod, Shell, by


@dataclass(frozen=True)
class Hard:
    """A bone that is not a vertebra.

    Attributes
    ----------
    cortex_mm, cortex_hu : float
        Of its shell.
    inside_hu : float
        Within.
    frame : (4, 4)
        From the frame of its parts to LPS.
    of_skull : bool
        Whether it is a bone of the head.
    """

    parts: tuple[Part, ...]
    cortex_mm: float
    cortex_hu: float
    inside_hu: float
    frame: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    of_skull: bool = False


def skull(person: Person) -> Iterator[Hard]:
    """Yield the bones of the head."""
    big = person.scale
    vault = Ellipsoid((0.0, 2.0, 80.0 * big), (69.0 * big, 90.0 * big, 76.0 * big))
    half = np.array([[-120.0, -20.0, -20.0], [120.0, 120.0, 200.0]])
    base = [
        Part(Cropped(Shell(vault, 5.5), half)),
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
    base.append(Part(Ellipsoid((0.0, 12.0, 14.0), (15.0, 18.0, 16.0)), 2.0, cut=True))  # foramen magnum
    for side in SIDES:
        base.append(Part(Ellipsoid((side * 16.5, 0.0, 13.6), (6.6, 11.0, 8.0)), 3.0))  # condyles
    yield Hard(tuple(base), 1.6, 1350.0, 550.0)
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        mastoid = Part(Rod(mirror * (50.0, 6.0, 22.0), mirror * (49.0, 8.0, -2.0), (12.0, 6.0)))
        yield Hard((mastoid,), 1.4, 1200.0, -150.0)  # air cells
        yield Hard(
            (Part(Rod(mirror * (31.0, -12.0, 14.0), mirror * (26.0, -22.0, -14.0), (2.0, 1.4))),), 1.0, 1000.0, 700.0
        )
    yield from _jaws(big)
    teeth = tuple(Part(Rod(crown, root, (radius, radius * 0.5)), 0.3) for crown, root, radius in crowns(person))
    yield Hard(teeth, 1.3, 2600.0, 1700.0)


def _jaws(big: float) -> Iterator[Hard]:
    mandible = []
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0]) * (big, big, 1.0)
        head, angle = mirror * (50.0, -24.0, 16.0), mirror * (46.0, -32.0, -34.0)
        molar, chin = mirror * (27.0, -64.0, -44.0), mirror * (7.0, -92.0, -50.0)
        mandible += [
            Part(Ellipsoid(head, (8.0, 4.5, 5.0))),
            Part(Rod(head, angle, (3.6, 4.2), 3.2, (0, 1, 0))),
            Part(Rod(mirror * (47.0, -46.0, 6.0), mirror * (45.0, -44.0, -26.0), (3.0, 4.0), 2.0, (0, 1, 0)), 4.0),
            Part(Rod(angle, molar, (5.0, 5.4), 2.4), 4.0),
            Part(Rod(molar, chin, (5.4, 6.0), 2.5), 4.0),
        ]
    mandible.append(Part(Ellipsoid((0.0, -94.0 * big, -54.0), (12.0, 6.5, 10.0)), 4.0))
    yield Hard(tuple(mandible), 2.4, 1450.0, 350.0)
    maxilla = []
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0]) * (big, big, 1.0)
        maxilla += [
            Part(Rod(mirror * (26.0, -48.0, -6.0), mirror * (8.0, -86.0, -8.0), (6.0, 5.0), 1.2), 4.0),
            Part(Shell(Ellipsoid(mirror * (27.0, -62.0, 30.0), (15.0, 19.0, 18.0)), 1.6), 1.0),
            Part(Rod(mirror * (40.0, -66.0, 36.0), mirror * (62.0, -26.0, 30.0), (3.0, 2.4), 1.6)),  # cheek bone
        ]
    maxilla.append(
        Part(Rod((0.0, -50.0 * big, 6.0), (0.0, -84.0 * big, 3.0), (1.6, 2.0), 12.0, (1, 0, 0)), 3.0)
    )  # palate
    maxilla.append(Part(Rod((0.0, -44.0, 24.0), (0.0, -84.0, 24.0), (0.7, 0.8), 16.0), 0.5))  # septum
    yield Hard(tuple(maxilla), 1.4, 1250.0, 450.0)


def crowns(person: Person) -> list[tuple[Place, Place, float]]:
    """Return each tooth's crown, the end of its root, and its radius."""
    big, teeth = person.scale, []
    for number in range(14):
        angle = np.radians(-72.0 + 144.0 * number / 13)
        x, y = 27.0 * big * np.sin(angle), -52.0 * big - 38.0 * big * np.cos(angle) ** 1.5
        radius = 2.7 + 1.8 * float(np.sin(angle)) ** 2
        for crown, root in ((-16.5, -4.0), (-18.5, -36.0)):
            teeth.append((by(x, y, crown), by(x * 0.97, y + 2.0, root), radius))
    return teeth


def larynx(person: Person, front: Place, low: Place) -> Iterator[Hard]:
    """Yield hyoid and laryngeal cartilages.

    Parameters
    ----------
    person : Person
        With age, cartilage turns to bone.
    front, low : (3,)
        Before C3 and C6, LPS about C4; these bones are in LPS.
    """
    horn = [
        Part(Rod(front + by(side * 20.0, -8.0, 2.0), front + by(side * 11.0, -36.0, -4.0), (1.6, 2.2), 1.6), 1.0)
        for side in SIDES
    ]
    horn.append(Part(Rod(front + by(-11.0, -36.0, -4.0), front + by(11.0, -36.0, -4.0), (2.4, 2.4), 2.0), 2.0))
    yield Hard(tuple(horn), 0.9, 900.0, 350.0)
    ossified = float(np.clip((person.age - 25.0) / 50.0, 0.05, 1.0))
    plates = [
        Part(Rod(low + by(side * 21.0, -12.0, 20.0), low + by(side * 2.0, -38.0, 16.0), (1.3, 1.3), 9.0), 1.5)
        for side in SIDES
    ]
    yield Hard(tuple(plates), 0.8, 150.0 + 450.0 * ossified, 90.0 + 60.0 * ossified)
    ring = [
        Part(Rod(low + by(-11.0, -14.0, 2.0), low + by(11.0, -14.0, 2.0), (2.0, 2.0), 4.2), 2.0),
        *(
            Part(Rod(low + by(side * 12.0, -15.0, 0.0), low + by(side * 3.0, -34.0, -3.0), (2.0, 1.8), 1.9), 2.0)
            for side in SIDES
        ),
    ]
    yield Hard(tuple(ring), 0.8, 150.0 + 500.0 * ossified, 90.0 + 80.0 * ossified)
