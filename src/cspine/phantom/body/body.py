"""A body: a person from the vertex to the thighs with all bones and tissues, ready to be rendered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.calcifications import ribs
from cspine.phantom.anatomy.head import larynx
from cspine.phantom.anatomy.neck import Neck, disc_below, vertebra_parts
from cspine.phantom.anatomy.organs import Layout
from cspine.phantom.anatomy.person import STACK, Person, draw_person
from cspine.phantom.anatomy.posture import Frame, draw_posture, pillar_space, place_vertebrae
from cspine.phantom.anatomy.texture import draw_texture
from cspine.phantom.anatomy.variants import draw_variants
from cspine.phantom.body.arms import arm_bones
from cspine.phantom.body.coarse_tissue import CoarseSoftTissue
from cspine.phantom.body.full_head import full_skull
from cspine.phantom.body.head_shape import draw_head_shape
from cspine.phantom.body.outline import body_outline
from cspine.phantom.body.plan import SIDE_SIGNS, ArmPosture, BodyPlan, Side
from cspine.phantom.body.settings import BodySettings, ScanKind
from cspine.phantom.body.skeleton.girdles import pelvis, shoulder_girdle
from cspine.phantom.body.skeleton.morphometry import LOWER_STACK, draw_lower_measures
from cspine.phantom.body.skeleton.rib_cage import CagePlan, draw_cage, lumbar_ribs, rib_cage
from cspine.phantom.body.skeleton.spine import (
    draw_lower_posture,
    layout_of_body,
    lower_disc_space,
    place_lower_vertebrae,
)
from cspine.phantom.body.skeleton.thoracolumbar import lower_vertebra
from cspine.phantom.body.surroundings import surroundings
from cspine.phantom.body.viscera import viscera
from cspine.phantom.disorders.disorders import draw_disorders
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.scaled import scale_parts
from cspine.phantom.geometry.solids import Ellipsoid

_SOFT_TISSUE_SPACING_MM: Final = 4.0
"""Of the grid on which soft tissue is rasterized where no other is asked for."""

_PREVALENCE: Final[Mapping[str, float]] = {"eleven pairs of ribs": 0.03, "lumbar ribs": 0.03}
"""Probability of variants of the ribs, more frequent than in people."""


@dataclass(frozen=True)
class Body(Neck):
    """A body, which is rendered like a neck.

    Attributes
    ----------
    plan : BodyPlan
        Frames of all vertebrae, joints, table.
    disorders : tuple of str
        Names of what is wrong with it.
    """

    plan: BodyPlan = field(kw_only=True)
    disorders: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[str, ...]:
        """The vertebrae from C1 down to S1, the sacrum."""
        return tuple(level for level in self.frames if level != "C0")

    def vertebra_parts(self, level: str) -> list[Part]:
        """Return the parts of a vertebra with its variants, in its frame."""
        if level in LOWER_STACK:
            parts = list(lower_vertebra(level, self.person.measures[level], self.person.traits[level]))
        else:
            parts = vertebra_parts(self.person, level, self.pillar_spacing_mm)
        parts += self.variants.parts.get(level, ())
        return parts if self.size_factor == 1.0 else list(scale_parts(parts, self.size_factor))

    def resized(self, factor: float, head_factor: float) -> Self:
        """Return the body in another size, about the body of C4; its head has a size of its own."""
        body = super().resized(factor, head_factor)
        return replace(body, plan=resize_plan(self.plan, body.frames, factor))


def draw_anatomy(rng: np.random.Generator, settings: BodySettings, kind: ScanKind) -> Body:
    """Draw a person on a table for a kind of scan, which determines how the arms lie.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    settings : BodySettings
        Distributions to draw from.
    kind : str
        Kind of the scan.
    """
    disorders = draw_disorders(rng, settings.disorders)
    person = draw_person(rng, age_years=settings.age_years, morphometry_sd_factor=settings.morphometry_sd_factor)
    person = draw_lower_measures(person, rng, morphometry_sd_factor=settings.morphometry_sd_factor)
    person = disorders.person(person)
    posture = disorders.posture(draw_posture(rng, posture_sd_factor=settings.posture_sd_factor))
    frames = disorders.frames(place_vertebrae(person, posture, rng), person)
    lower = draw_lower_posture(posture, rng, posture_sd_factor=settings.posture_sd_factor)
    frames, texture = place_lower_vertebrae(person, frames, posture, lower, rng), draw_texture(rng)
    layout = layout_of_body(person, frames)
    cage = draw_cage(person, layout, rng)
    plan = draw_plan(person, frames, cage, draw_arms(rng, kind), rng)
    variants = draw_variants(person, {level: frames[level] for level in ("C0", *STACK)}, rng)
    names = [name for name, probability in _PREVALENCE.items() if rng.random() < probability]
    hard_tissues = [
        *full_skull(plan, rng),
        *larynx(person, layout.front["C3"], layout.front["C6"]),
        *variants.hard_tissues[len(ribs(person, frames)) :],  # whole ribs take the place of their proximal parts
        *rib_cage(person, layout, cage, rng, pairs=11 if "eleven pairs of ribs" in names else 12),
        *(lumbar_ribs(person, frames, rng) if "lumbar ribs" in names else ()),
        *shoulder_girdle(plan, cage),
        *arm_bones(plan),
        *pelvis(plan),
    ]
    body = Body(
        person=person,
        posture=posture,
        frames=frames,
        pillar_spacing_mm={level: pillar_space(frames, level) for level in STACK if level not in {"C1", "C2"}},
        soft_tissue=CoarseSoftTissue(
            tuple(body_outline(plan)),
            (*viscera(plan, rng), *surroundings(plan, rng)),
            person.girth,
            float(layout.canal["C4"][1]),
            texture,
            _grid_over_body(plan),
        ),
        hard_tissues=tuple(hard_tissues),
        discs=(
            *(disc_below(person, frames, level) for level in STACK[1:-1]),
            *(_lower_disc(person, frames, level) for level in ("T2", *LOWER_STACK[:-1])),
        ),
        texture=texture,
        variants=replace(variants, hard_tissues=(), names=(*variants.names, *names)),
        plan=plan,
        disorders=disorders.names,
    )
    return disorders.neck(body)


def draw_arms(rng: np.random.Generator, kind: ScanKind) -> ArmPosture:
    """Draw how the arms lie: mostly raised for the trunk, down for head and neck."""
    trunk = kind in {"chest", "chest from C7", "abdomen", "T3 and below", "lumbar spine"}
    mixed = kind in {"pan-scan", "pan-scan from skull base", "C5 and below", "C6 and below"}
    probability = (0.75, 0.05) if trunk else (0.45, 0.12) if mixed else (0.03, 0.02)
    draw = rng.random()
    if draw < probability[0]:
        return "raised"
    return "one raised" if draw < sum(probability) else "down"


def draw_plan(
    person: Person, frames: Mapping[str, Frame], cage: CagePlan, arms: ArmPosture, rng: np.random.Generator
) -> BodyPlan:
    """Draw the joints of the arms, the hips and the table about a spine.

    Parameters
    ----------
    person, frames
        Give sizes and vertebrae, C0 to S1.
    cage : CagePlan
        Size of the rib cage.
    arms : str
        Posture of the arms.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    scale, base, sacrum = person.scale, frames["T2"].center_mm, frames["S1"]
    wide, lift, forward = rng.normal(158.0, 8.0), rng.normal(-4.0, 12.0), rng.normal(6.0, 8.0)
    bend, height = rng.uniform(0.0, 1.0), rng.normal(0.0, 15.0)
    shoulders: dict[Side, Floats] = {}
    elbows: dict[Side, Floats] = {}
    wrists: dict[Side, Floats] = {}
    for side, sign in SIDE_SIGNS.items():
        if arms == "raised" or (arms == "one raised" and side == "left"):
            shoulder = vector(base[0] + sign * (wide - 22.0) * scale, base[1] + forward - 8.0, base[2] + lift + 34.0)
            elbow = shoulder + vector(sign * (20.0 + 50.0 * bend), -45.0 + 60.0 * bend, 255.0 - 60.0 * bend) * scale
            wrist = elbow + vector(-sign * (30.0 + 120.0 * bend), -20.0, 190.0 - 110.0 * bend) * scale
        else:
            shoulder = vector(base[0] + sign * wide * scale, base[1] + forward, base[2] + lift)
            elbow = shoulder + vector(sign * rng.uniform(30.0, 60.0), rng.uniform(0.0, 30.0), -280.0 + height) * scale
            if bend < 0.35:  # the hand lies on the belly
                wrist = elbow + vector(-sign * 165.0, -120.0, -110.0) * scale
            else:
                wrist = elbow + vector(sign * rng.uniform(-30.0, 15.0), -30.0, -225.0) * scale
        shoulders[side], elbows[side], wrists[side] = shoulder, elbow, wrist
    hips = {
        side: sacrum.center_mm + vector(sign * 88.0 * scale, -22.0 - 6.0 * rng.normal(), -92.0 * scale)
        for side, sign in SIDE_SIGNS.items()
    }
    backs = [float(frames[f"T{number}"].center_mm[1]) + 62.0 * scale for number in range(3, 11)]
    back = max(*backs, float(sacrum.center_mm[1]) + 66.0 * scale)
    layout = layout_of_body(person, frames)
    at_t8 = layout.canal["T8"]
    return BodyPlan(
        person=person,
        frames=frames,
        layout=layout,
        arms=arms,
        shoulders=shoulders,
        elbows=elbows,
        wrists=wrists,
        hips=hips,
        table_y_mm=back + 4.0 + 22.0 * person.girth,
        chest_half_width_mm=cage.half_width_mm,
        chest_half_depth_mm=0.5 * (float(at_t8[1]) + 30.0 * scale - cage.front_y(float(at_t8[2]))),
        head=draw_head_shape(person, rng),
    )


def resize_plan(plan: BodyPlan, frames: Mapping[str, Frame], factor: float) -> BodyPlan:
    """Return the plan of a body that has been resized about the origin, with its frames.

    Person and head keep the measures from which the bones are built.
    """
    if factor == 1.0:
        return plan

    def resized(points: Mapping[Side, Floats]) -> dict[Side, Floats]:
        return {side: factor * point for side, point in points.items()}

    layout = plan.layout
    return replace(
        plan,
        frames=frames,
        layout=Layout(
            {level: factor * point for level, point in layout.canal.items()},
            {level: factor * point for level, point in layout.front.items()},
            frames,
        ),
        shoulders=resized(plan.shoulders),
        elbows=resized(plan.elbows),
        wrists=resized(plan.wrists),
        hips=resized(plan.hips),
        table_y_mm=factor * plan.table_y_mm,
        chest_half_width_mm=factor * plan.chest_half_width_mm,
        chest_half_depth_mm=factor * plan.chest_half_depth_mm,
    )


def _grid_over_body(plan: BodyPlan) -> Grid:
    """Return a coarse grid over the whole body, for soft tissue."""
    top = float(plan.frames["C0"].to_lps([0.0, 0.0, 175.0])[2])
    low = float(plan.hips["left"][2]) - 120.0
    box = np.array([[-330.0, plan.table_y_mm - 380.0, low], [330.0, plan.table_y_mm + 120.0, top]])
    k, j, i = np.ceil((box[1] - box[0]) / _SOFT_TISSUE_SPACING_MM).astype(int)[::-1].tolist()
    return Grid.aligned(box[0], _SOFT_TISSUE_SPACING_MM, (k, j, i))


def _lower_disc(person: Person, frames: Mapping[str, Frame], level: str) -> tuple[Ellipsoid, Floats]:
    """Return the disc below a level from T2 to L5 and the affine of its frame; endplates are drawn over it."""
    measures, space = person.measures[level], lower_disc_space(person, level)
    affine = frames[level].affine
    affine[:3, 3] = frames[level].to_lps([0.0, 0.0, -(measures["body height"] + space) / 2])
    radii = (0.52 * measures["body width"], 0.52 * measures["body depth below"], space + 3.5)
    return Ellipsoid((0.0, 0.0, 0.0), radii), affine
