"""The plan of a body: person, vertebrae, joints and support, before any bone or tissue is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import Layout
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.body.head_shape import HeadShape

ArmPosture = Literal["down", "raised", "one raised"]
"""Where the arms are: beside the body, above the head, or the left one above the head."""

Side = Literal["right", "left"]

SIDE_SIGNS: Final[dict[Side, float]] = {"right": -1.0, "left": 1.0}
"""Sign of x on each side of the body, in LPS."""


@dataclass(frozen=True)
class BodyPlan:
    """A person on a table. All positions are in LPS mm with the origin in the body of C4: x left, y back, z up.

    Attributes
    ----------
    person : Person
        Its measures and traits hold all vertebrae, C1 to S1.
    frames : dict
        Level to the frame of the vertebra, C1 to C7, T1 to T12, L1 to L5, S1; ``C0`` is the skull.
    layout : Layout
        Canal and anterior wall of each vertebra.
    arms : str
        Posture of the arms.
    shoulders, elbows, wrists : dict
        Side to the center of the joint, (3,); that of the shoulder is the center of the head of the humerus.
    hips : dict
        Side to the center of the head of the femur, (3,).
    table_y_mm : float
        The y of the surface of the table, which the back rests on.
    chest_half_width_mm, chest_half_depth_mm : float
        Half the width and depth of the rib cage, outside the ribs, where it is widest (about T8).
    head : HeadShape
        Shape of the head and its distance from the atlas.
    """

    person: Person
    frames: Mapping[str, Frame]
    layout: Layout
    arms: ArmPosture
    shoulders: Mapping[Side, Floats]
    elbows: Mapping[Side, Floats]
    wrists: Mapping[Side, Floats]
    hips: Mapping[Side, Floats]
    table_y_mm: float
    chest_half_width_mm: float
    chest_half_depth_mm: float
    head: HeadShape = field(default_factory=HeadShape)

    @property
    def levels(self) -> tuple[str, ...]:
        """The vertebrae of this person from C1 down to S1."""
        return tuple(level for level in self.frames if level != "C0")

    def is_raised(self, side: Side) -> bool:
        """Return whether the arm of a side is above the head."""
        return self.arms == "raised" or (self.arms == "one raised" and side == "left")
