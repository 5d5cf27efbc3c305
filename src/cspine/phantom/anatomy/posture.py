"""How a neck is held: where each vertebra stands and how it is turned."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cspine.phantom.anatomy.axis import dens_middle
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.subaxial import RIM_MM, endplate_arch

_ABOVE: Final = dict(pairwise(STACK))

_LORDOSIS_SHARE: Final = {"C7": 0.14, "C6": 0.19, "C5": 0.22, "C4": 0.22, "C3": 0.23}
"""How the lordosis from C7 to C2 is spread over the discs above these levels."""

_TURN_SHARE: Final = {"T2": 0.01, "T1": 0.02, "C7": 0.05, "C6": 0.08, "C5": 0.09, "C4": 0.09, "C3": 0.06, "C2": 0.60}
"""How a turn of the head is spread over the joints above these levels: most of it lies between C1 and C2."""

_MEAN_WEAR: Final = 0.42
"""Of people of all ages, whose discs the measures are means of."""


@dataclass(frozen=True)
class Frame:
    """Where a vertebra stands.

    Attributes
    ----------
    centre_mm : (3,)
        LPS.
    axes : (3, 3)
        Columns are the vertebra's own x, y and z as LPS unit vectors.
    """

    centre_mm: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]

    def to_lps(self, local: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the LPS place of a place in the vertebra's frame."""
        return np.asarray(self.centre_mm + self.axes @ np.asarray(local, dtype=np.float64))

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """From the vertebra's frame to LPS, (4, 4)."""
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.axes, self.centre_mm
        return affine


@dataclass(frozen=True)
class Posture:
    """How the neck is bent and turned, in degrees.

    Attributes
    ----------
    slope : float
        Of T1's upper endplate to the front.
    lordosis : float
        Between the lower endplates of C2 and C7; negative in kyphosis.
    turn : float
        Of the head to the left.
    tilt : float
        Of the whole neck to the left.
    scoliosis : float
        Of a bend to the left in the middle, with its return.
    """

    slope: float
    lordosis: float
    turn: float
    tilt: float
    scoliosis: float


_TURNED: Final = 0.15
"""Share of people who lie with their head turned, as injured ones do."""

_BENT: Final = 0.08
"""Share of people with a scoliosis that is one."""


def draw_posture(rng: np.random.Generator, *, morphometry_sd_factor: float = 1.0) -> Posture:
    """Draw how someone lies in a scanner: mostly straight.

    The mean lordosis of 15,364 people is 13 to 19 degrees (a meta-analysis, PMC6003173); lying flattens it.

    Parameters
    ----------
    rng : numpy Generator
        Where chance comes from.
    morphometry_sd_factor : float
        How many times as much as usual necks are bent and turned.
    """
    lordosis = float(np.clip(rng.normal(12.0, 11.0 * morphometry_sd_factor), -25.0, 45.0))
    turn = morphometry_sd_factor * (18.0 if rng.random() < _TURNED else 6.0)
    bend = morphometry_sd_factor * (9.0 if rng.random() < _BENT else 2.5)
    return Posture(
        slope=float(np.clip(rng.normal(16.0 + 0.55 * (lordosis - 12.0), 5.0 * morphometry_sd_factor), -5.0, 45.0)),
        lordosis=lordosis,
        turn=float(np.clip(rng.normal(0.0, turn), -45.0, 45.0)),
        tilt=float(rng.normal(0.0, 3.0 * morphometry_sd_factor)),
        scoliosis=float(np.clip(rng.normal(0.0, bend), -25.0, 25.0)),
    )


def stand(person: Person, posture: Posture, rng: np.random.Generator) -> dict[str, Frame]:
    """Return a frame for each vertebra from T2 to C1 and for the skull (``C0``), in LPS about C4's body.

    Parameters
    ----------
    person : Person
        Whose vertebrae.
    posture : Posture
        How they are held.
    rng : numpy Generator
        For the small differences from joint to joint.
    """
    turned = Rotation.from_euler("xy", [posture.slope + 4.0, posture.tilt], degrees=True)
    frames = {"T2": Frame(np.zeros(3), turned.as_matrix())}
    for below, level in _ABOVE.items():
        bend = posture.scoliosis * {"C6": 0.5, "C5": 0.5, "C4": -0.5, "C3": -0.5}.get(below, 0.0)
        extend = posture.lordosis * _LORDOSIS_SHARE.get(below, 0.0) + {"T2": 2.0, "T1": 2.0}.get(below, 0.0)
        steps = [
            rng.normal(-extend, 1.2),
            bend + rng.normal(0, 0.8),
            posture.turn * _TURN_SHARE[below] + rng.normal(0, 0.6),
        ]
        turned = turned * Rotation.from_euler("xyz", steps, degrees=True)
        axes = turned.as_matrix()
        if level == "C1":
            centre = frames["C2"].to_lps(dens_middle(person.measures["C2"]))
        else:
            centre = _on_disc(person, frames[below], below, level, axes)
        frames[level] = Frame(centre, axes)
    nod = Rotation.from_euler("xyz", [rng.normal(-2.0, 4.0), rng.normal(0, 1.5), posture.turn * 0.05], degrees=True)
    frames["C0"] = Frame(frames["C1"].to_lps([0.0, 0.0, 0.0]), (turned * nod).as_matrix())
    middle = frames["C4"].centre_mm
    return {level: Frame(frame.centre_mm - middle, frame.axes) for level, frame in frames.items()}


def _on_disc(
    person: Person, under: Frame, below: str, level: str, axes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where a vertebra's middle lies over the one below, a disc between them; its lower front juts forward."""
    top = under.to_lps([0.0, 0.0, person.measures[below]["body height"] / 2])
    up = under.axes[:, 2] + axes[:, 2]
    disc = top + up / np.linalg.norm(up) * disc_space(person, level)
    return np.asarray(disc + axes @ [0.0, 0.0, person.measures[level]["body height"] / 2])


def disc_space(person: Person, level: str) -> float:
    """Return the height of the disc below a level between the rims of the endplates, in mm: worn discs are flat."""
    arch = endplate_arch(person.traits[level])
    worn = 1.0 + 0.35 * (_MEAN_WEAR - person.wear) * (level in {"C3", "C4", "C5", "C6"})
    return max(person.measures[level]["disc height"] * worn - arch + 2 * RIM_MM, 1.0)


def pillar_space(frames: Mapping[str, Frame], level: str) -> float:
    """Return the distance from a level to its neighbours, which its articular pillars fill, in mm."""
    number = STACK.index(level)
    neighbours = [STACK[n] for n in (number - 1, number + 1) if 0 <= n < len(STACK) and STACK[n] not in {"C1", "C2"}]
    places = [frames[other].to_lps([0.0, 12.0, 0.0]) for other in neighbours]
    here = frames[level].to_lps([0.0, 12.0, 0.0])
    return float(np.mean([np.linalg.norm(place - here) for place in places]))
