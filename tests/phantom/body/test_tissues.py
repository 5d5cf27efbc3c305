"""Head, skin, organs and surroundings of the body phantom are where the skeleton says that they are."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import AIR, CORD, Organ, composite_organ
from cspine.phantom.body.arms import arm_bones
from cspine.phantom.body.body import draw_anatomy
from cspine.phantom.body.equipment import lines, supports
from cspine.phantom.body.full_head import full_skull
from cspine.phantom.body.head_shape import HeadShape
from cspine.phantom.body.outline import body_outline
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.body.settings import BODY_DOMAINS, body_stream
from cspine.phantom.body.surroundings import surroundings
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.body.viscera import viscera
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, bounding_box_of, distance_at
from cspine.phantom.geometry.points import PointCloud, vector
from cspine.phantom.geometry.solids import Rod

TOOTH_HU = 1700.0


@pytest.fixture(scope="module")
def plan() -> BodyPlan:
    settings = BODY_DOMAINS["source"]
    bodies = (draw_anatomy(body_stream(3, index, settings), settings, "pan-scan") for index in range(20))
    return next(body.plan for body in bodies if body.size_factor == 1.0 and not body.disorders)


def distances(parts: tuple[Part, ...] | list[Part], *points: Floats) -> list[float]:
    x, y, z = np.array(points, np.float32).T
    return [float(value) for value in distance_at(parts, PointCloud(x, y, z), truncation_mm=60.0)]


def hu_at(organs: list[Organ], point: Floats, background: float = 0.0) -> float:
    grid = Grid.aligned(point - 3.0, 3.0, (3, 3, 3))
    hu = np.full(grid.shape, background, np.float32)
    for organ in organs:
        composite_organ(hu, organ, grid)
    return float(hu[1, 1, 1])


def with_head(plan: BodyPlan, head: HeadShape) -> BodyPlan:
    return replace(plan, head=head)


def test_skull_encloses_the_brain_and_is_open_above_the_atlas(plan: BodyPlan) -> None:
    head = with_head(plan, HeadShape())
    cranium, skull = next(full_skull(head, np.random.default_rng(0))), head.frames["C0"]

    assert cranium.is_skull
    assert min(distances(cranium.parts, *(vector(0, 10, z) for z in range(140, 165, 2)))) < -1.0
    assert min(distances(cranium.parts, *(vector(x, 10, 90) for x in range(60, 85, 2)))) < -1.0
    assert min(distances(cranium.parts, *(vector(0, y, 90) for y in range(-95, -75, 2)))) < -1.0
    assert min(distances(cranium.parts, vector(0, 10, 90), vector(1, 11, 15), vector(0, 10, 30))) > 2.0
    assert np.allclose(cranium.frame, skull.affine)


def test_lifted_skull_leaves_its_distance_to_the_atlas(plan: BodyPlan) -> None:
    at_rest, lifted = (
        next(full_skull(with_head(plan, HeadShape(lift_mm=lift)), np.random.default_rng(0))) for lift in (0.0, 10.0)
    )

    up = plan.frames["C0"].axes[:, 2]

    assert (lifted.frame[:3, 3] - at_rest.frame[:3, 3]) @ up == pytest.approx(10.0)


def test_jaw_opens_and_loses_its_teeth(plan: BodyPlan) -> None:
    closed, opened, toothless = (
        list(full_skull(with_head(plan, shape), np.random.default_rng(0)))
        for shape in (HeadShape(), HeadShape(jaw_opening_deg=20.0), HeadShape(is_edentulous=True))
    )
    lowest = [min(bounding_box_of(bone.parts)[0, 2] for bone in bones) for bones in (closed, opened)]

    assert lowest[1] < lowest[0] - 10.0
    assert any(bone.interior_hu == TOOTH_HU for bone in closed)
    assert not any(bone.interior_hu == TOOTH_HU for bone in toothless)


def test_skin_encloses_bones_and_organs(plan: BodyPlan) -> None:
    outline = body_outline(plan)
    joints = [*plan.shoulders.values(), *plan.elbows.values(), *plan.wrists.values(), *plan.hips.values()]
    vertebrae = [plan.frames[level].center_mm for level in plan.levels]

    assert max(distances(outline, *joints, *vertebrae)) < -5.0
    assert min(distances(outline, vector(0, -300, 0), vector(0, plan.table_y_mm + 20, 0))) > 0.0
    for bone in arm_bones(plan):
        ends = [end for part in bone.parts if isinstance(part.solid, Rod) for end in (part.solid.start, part.solid.end)]
        assert max(distances(outline, *np.array(ends))) < 0.0


def test_heavy_people_are_wider(plan: BodyPlan) -> None:
    slim, heavy = (replace(plan, person=replace(plan.person, girth=girth)) for girth in (0.1, 0.9))

    assert Trunk(heavy).skin.half_width_mm.max() > Trunk(slim).skin.half_width_mm.max() + 20.0


def test_organs_follow_the_spine(plan: BodyPlan) -> None:
    organs = list(viscera(plan, np.random.default_rng(1)))
    layout = plan.layout
    side = vector(0.6 * plan.chest_half_width_mm, 0, 0)

    assert hu_at(organs, layout.canal["T8"]) == pytest.approx(CORD, abs=15.0)
    assert hu_at(organs, layout.frames["T6"].center_mm + side) < -600.0
    assert hu_at(organs, layout.frames["T6"].center_mm - side) < -600.0
    assert hu_at(organs, layout.anterior_to("T2", 22.0)) < -500.0
    assert hu_at(organs, plan.frames["C0"].to_lps(plan.head.at(0, 20, 110))) == pytest.approx(36.0, abs=15.0)


def test_contrast_medium_is_in_half_of_the_scans(plan: BodyPlan) -> None:
    arch = plan.layout.anterior_to("T4", 42.0, -10.0, 4.0)

    dense = [hu_at(list(viscera(plan, np.random.default_rng(seed))), arch) > 100.0 for seed in range(12)]

    assert 2 <= sum(dense) <= 10


def test_mask_lies_close_to_the_skin_of_the_face(plan: BodyPlan) -> None:
    outline = body_outline(plan)
    sheet = next(supports.mask(plan, outline, np.random.default_rng(0)))
    nose = lines.front_of_skin(outline, *plan.head.frame(plan.frames["C0"]).to_lps(plan.head.at(0, -90, 90))[[0, 2]])

    away = distances(sheet.parts, *(nose - vector(0, mm, 0) for mm in np.arange(-6.0, 16.0, 0.5)))

    assert min(away) < -0.5
    assert away[0] > 0.0
    assert away[-1] > 2.0
    assert sheet.max_background_hu == AIR


@pytest.mark.parametrize("is_flat", [True, False])
def test_table_lies_under_the_back(plan: BodyPlan, is_flat: bool) -> None:
    parts = list(supports.table(plan, np.random.default_rng(2), is_flat=is_flat))
    middle = plan.layout.canal["T6"]

    hu = [hu_at(parts, vector(0, y, middle[2]), AIR) for y in np.arange(plan.table_y_mm - 40, plan.table_y_mm + 200, 2)]

    assert hu[0] == AIR
    assert max(hu) > -600.0


def test_surroundings_vary_and_leave_the_body_alone(plan: BodyPlan) -> None:
    scenes = [list(surroundings(plan, np.random.default_rng(seed))) for seed in range(8)]
    center = plan.frames["C5"].center_mm

    assert len({len(scene) for scene in scenes}) > 3
    assert all(hu_at(scene, center, 300.0) == 300.0 for scene in scenes)
