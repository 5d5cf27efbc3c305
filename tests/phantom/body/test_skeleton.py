"""The skeleton of the body phantom: the neck's frames stay, the spine goes on below them, and all of it is rendered."""

from itertools import pairwise

import numpy as np
import pytest

from cspine.core.anatomy import VERTEBRA_NUMBERS
from cspine.phantom.body.body import Body, draw_anatomy
from cspine.phantom.body.render import render_averaged, render_body, render_body_volume
from cspine.phantom.body.sampler import draw_body
from cspine.phantom.body.scan import describe_body, draw_scan
from cspine.phantom.body.settings import BODY_DOMAINS, OTHER_KINDS, SCAN_KINDS, ScanKind, body_stream
from cspine.phantom.body.skeleton.morphometry import LOWER_STACK
from cspine.phantom.body.skeleton.rib_cage import draw_cage, rib_path
from cspine.phantom.disorders.settings import DisorderSettings
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import distance_at
from cspine.phantom.geometry.points import PointCloud
from cspine.phantom.scanner.render import render

SETTINGS = BODY_DOMAINS["source"]


@pytest.fixture(scope="module")
def body() -> Body:
    return draw_anatomy(body_stream(7, 0, SETTINGS), SETTINGS, "pan-scan")


def test_levels_go_down_from_the_atlas_to_the_sacrum(body: Body) -> None:
    heights = [float(body.frames[level].center_mm[2]) for level in body.levels]

    assert body.levels == tuple(level for level in VERTEBRA_NUMBERS)
    assert np.all(np.diff(heights[1:]) < -8.0)


def test_trunk_has_the_length_of_a_person(body: Body) -> None:
    thorax = body.frames["T1"].center_mm[2] - body.frames["T12"].center_mm[2]
    loin = body.frames["L1"].center_mm[2] - body.frames["L5"].center_mm[2]

    assert 200.0 < thorax < 320.0
    assert 110.0 < loin < 190.0


def test_vertebra_that_is_rendered_lies_at_its_frame(body: Body) -> None:
    center = body.frames["T7"].center_mm
    grid = Grid.aligned(center - 45.0, 3.0, (31, 31, 31))

    rendered = render_averaged(body, grid)
    bone = (grid.affine @ [*np.argwhere(rendered.labels == VERTEBRA_NUMBERS["T7"]).mean(axis=0), 1.0])[:3]

    assert {13, 14, 15} <= set(np.unique(rendered.labels).tolist())
    assert np.linalg.norm(bone - center) < 25.0
    assert rendered.hu[15, 15, 15] > 100.0


def test_averages_over_coarse_voxels_are_those_of_fine_ones(body: Body) -> None:
    low = body.frames["T4"].center_mm - [30.0, 20.0, 15.0]
    coarse, fine = Grid.aligned(low + 1.5, 3.0, (10, 20, 20)), Grid.aligned(low + 0.375, 0.75, (40, 80, 80))

    averaged = render_averaged(body, coarse).hu
    expected = render(body, fine).hu.reshape(10, 4, 20, 4, 20, 4).mean(axis=(1, 3, 5))

    assert abs(float((averaged - expected).mean())) < 15.0
    assert np.corrcoef(averaged.ravel(), expected.ravel())[0, 1] > 0.97


def test_fine_voxels_show_the_same_body(body: Body) -> None:
    scan = draw_scan(body, "neck", SETTINGS, np.random.default_rng(3))
    box = scan.frames(body)["C0"][:3, 3] + np.array([[-30.0, -30.0, -15.0], [30.0, 30.0, 15.0]])

    fine, coarse = (render_body(body, scan, spacing, box_lps_mm=box) for spacing in (1.5, 3.0))

    averaged = fine.hu.reshape(10, 2, 20, 2, 20, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(averaged.ravel(), coarse.hu.ravel())[0, 1] > 0.9
    assert set(np.unique(fine.labels)) == set(np.unique(coarse.labels))


@pytest.mark.parametrize(
    ("kind", "present", "absent"),
    [
        ("head", [], ["C3", "C7", "L1"]),
        ("head to C3", ["C1", "C2"], ["C5", "T1"]),
        ("neck", ["C1", "C4", "C7"], ["T6", "L3"]),
        ("C3 to C6", ["C4", "C5"], ["C1", "T2"]),
        ("chest", ["T5", "T8"], ["C4", "L5"]),
        ("abdomen", ["L1", "L4"], ["C7", "T4"]),
        ("pan-scan", ["C1", "T6", "L5"], []),
        ("C6 and below", ["C7", "T1"], ["C4", "C5"]),
        ("T3 and below", ["T4", "T9"], ["C7", "T1", "T2"]),
        ("lumbar spine", ["L2", "L4"], ["T10", "C7"]),
    ],
)
def test_scans_cover_what_their_kind_says(body: Body, kind: ScanKind, present: list[str], absent: list[str]) -> None:
    scan = draw_scan(body, kind, SETTINGS, np.random.default_rng(3))
    low, high = scan.box_lps_mm[:, 2]

    heights = {level: frame[2, 3] for level, frame in scan.frames(body).items()}

    assert all(low < heights[level] < high for level in present)
    assert not any(low < heights[level] < high for level in absent)


@pytest.mark.parametrize(("level", "measure", "axis"), [("T8", "body width", 0), ("L3", "body height", 2)])
def test_bodies_have_the_measures_of_the_table(body: Body, level: str, measure: str, axis: int) -> None:
    along = np.zeros(3)
    along[axis] = 1.0
    steps = np.linspace(-45.0, 45.0, 901)
    points = PointCloud(*((steps * part).astype(np.float32) for part in along))

    is_bone = distance_at(body.vertebra_parts(level)[:1], points) < 0

    expected = body.person.measures[level][measure]
    waist = 0.88 if axis == 0 else 1.0  # half way up, bodies are narrower
    assert is_bone.sum() * 0.1 == pytest.approx(expected * waist, rel=0.06)


def test_neighboring_bodies_do_not_overlap(body: Body) -> None:
    for above, below in pairwise(("T2", *LOWER_STACK)):
        bottom = body.frames[above].to_lps([0.0, 0.0, -body.person.measures[above]["body height"] / 2])
        top = body.frames[below].to_lps([0.0, 0.0, body.person.measures[below]["body height"] / 2])
        assert (bottom - top) @ body.frames[below].axes[:, 2] > 1.0


def test_ribs_reach_from_their_vertebra_around_the_chest(body: Body) -> None:
    cage = draw_cage(body.person, body.plan.layout, np.random.default_rng(0))
    for number in (1, 6, 12):
        path = rib_path(body.person, body.plan.layout, cage, number, 1.0)
        head, end = path[0], path[-1]
        assert np.linalg.norm(head - body.frames[f"T{number}"].center_mm) < 35.0
        assert end[2] < head[2] - 10.0
        assert max(point[0] for point in path) > head[0] + 20.0


def test_a_child_is_small_with_its_plan() -> None:
    only_children = dict.fromkeys(DisorderSettings.model_fields, 0.0) | {"child": 1.0}
    settings = SETTINGS.model_copy(update={"disorders": DisorderSettings(**only_children)})

    child = draw_anatomy(body_stream(2, 1, settings), settings, "pan-scan")

    trunk = child.frames["T1"].center_mm[2] - child.frames["L5"].center_mm[2]
    assert child.size_factor < 1.0
    assert any("child" in name for name in child.disorders)
    assert trunk < 420.0
    assert all(np.all(child.plan.frames[level].center_mm == child.frames[level].center_mm) for level in child.frames)
    assert np.linalg.norm(child.plan.shoulders["left"] - child.frames["T2"].center_mm) < 170.0


def test_arms_lie_as_planned() -> None:
    bodies = [draw_anatomy(body_stream(9, index, SETTINGS), SETTINGS, "chest") for index in range(6)]

    raised = [body.plan.elbows["left"][2] > body.plan.shoulders["left"][2] for body in bodies]

    assert raised == [body.plan.is_raised("left") for body in bodies]
    assert any(raised)


def test_every_kind_has_a_frequency_or_is_one_of_the_others() -> None:
    assert set(SETTINGS.kinds) == set(BODY_DOMAINS["shifted"].kinds)
    assert {*SETTINGS.kinds, *OTHER_KINDS} == set(SCAN_KINDS)
    assert not set(OTHER_KINDS) & set(SETTINGS.kinds)


def test_same_seed_gives_the_same_scan_and_domains_differ() -> None:
    first, again = (draw_body(5, 3, SETTINGS) for _ in range(2))
    other = draw_body(5, 3, BODY_DOMAINS["shifted"])
    box = first[1].frames(first[0])["C4"][:3, 3] + np.array([[-12.0] * 3, [12.0] * 3])

    one, two = (render_body(*drawn, 3.0, box_lps_mm=box) for drawn in (first, again))

    np.testing.assert_array_equal(one.hu, two.hu)
    assert first[0].person.age_years != other[0].person.age_years


def test_margin_lies_outside_the_scan(body: Body) -> None:
    scan = draw_scan(body, "C3 to C6", SETTINGS, np.random.default_rng(3))

    rendered = render_body(body, scan, 6.0, margin=2)

    assert not rendered.is_scanned[:2].any()
    assert rendered.is_scanned[3:-3, 3:-3, 3:-3].all()
    assert rendered.hu.shape == rendered.labels.shape == rendered.is_scanned.shape


def test_volume_has_the_slices_of_the_scanner_but_no_finer_voxels(body: Body) -> None:
    scan = draw_scan(body, "C3 to C6", SETTINGS, np.random.default_rng(8))

    volume = render_body_volume(body, scan, min_spacing_mm=4.0)
    spacing = np.linalg.norm(volume.affine_lps[:3, :3], axis=0)

    assert np.all(spacing >= 4.0 - 1e-6)
    assert volume.is_scanned.all()


def test_tilted_scan_covers_a_sheared_part_of_its_box(body: Body) -> None:
    settings = SETTINGS.model_copy(update={"tilt_fraction": 0.25, "round_field_fraction": 0.0})
    scan = draw_scan(body, "head", settings, np.random.default_rng(2))
    slope = scan.scanner.grid.affine[2, 1]

    rendered = render_body(body, scan, 8.0)
    volume = render_body_volume(body, scan, min_spacing_mm=8.0)

    assert slope != 0.0
    assert 0.2 < rendered.is_scanned.mean() < 0.95
    assert volume.is_scanned.all()
    assert volume.affine_lps[2, 1] * slope > 0.0


def test_truth_says_how_much_of_each_vertebra_was_scanned(body: Body) -> None:
    scan = draw_scan(body, "C3 to C6", SETTINGS, np.random.default_rng(3))

    truth = describe_body(body, scan)["vertebrae"]

    assert truth["C5"]["scanned_fraction"] > 0.95
    assert truth["L1"]["scanned_fraction"] == 0.0
    center = np.array(truth["C5"]["frame"])[:3, 3]
    assert np.linalg.norm(center - truth["C5"]["centroid_lps_mm"]) < 25.0
