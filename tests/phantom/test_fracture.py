"""Every kind of fracture is a real gap or a real loss of height, where the truth says, and nowhere else."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from cspine.anatomy import SEGMENT_NUMBERS, VERTEBRAE, Level
from cspine.phantom import PhantomSettings
from cspine.phantom.breaking import break_bone
from cspine.phantom.fracture import Crack, draw_cracks, sites
from cspine.phantom.grid import Grid
from cspine.phantom.neck import Neck, draw_neck
from cspine.phantom.render import render
from cspine.phantom.scanner import Scanner, draw_scanner
from cspine.phantom.solids import by
from cspine.phantom.study import visibility

WIDE = PhantomSettings(gap_mm=(1.2, 1.5), displacement_mm=(1.0, 3.0))
STEP = 0.5


@lru_cache
def neck() -> Neck:
    return draw_neck(np.random.default_rng(9))


KINDS = [(level, site.kind) for level in ("C1", "C2", "C5", "C7") for site in sites(level, neck().person)]


def around(level: str) -> Grid:
    """A lattice about a vertebra, in the patient's axes."""
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = STEP
    affine[:, 3] = [*(neck().frames[level].centre_mm + by(-40.0, -25.0, -28.0)), 1.0]
    return Grid(affine, (int(60 / STEP), int(85 / STEP), int(80 / STEP)))


def broken(level: Level, kind: str) -> tuple[Crack, ...]:
    settings = WIDE.model_copy(
        update={"fracture_mix": {site.kind: float(site.kind == kind) for site in sites(level, neck().person)}}
    )
    rng = np.random.default_rng(4)
    while True:
        cracks = draw_cracks(level, neck().person, settings, rng)
        if cracks[0].crush_mm or np.linalg.norm(cracks[0].shift_mm) > 0.8:
            return cracks


@pytest.mark.parametrize(("level", "kind"), KINDS)
def test_a_fracture_is_where_the_truth_says_and_nowhere_else(level: Level, kind: str) -> None:
    cracks = broken(level, kind)
    grid = around(level)
    hurt = replace(neck().broken({level: cracks}), swelling=())
    whole, torn = render(neck(), grid), render(hurt, grid)

    gap = torn.fracture > 0
    assert set(np.unique(torn.fracture)) == {0, SEGMENT_NUMBERS[level]}
    assert not whole.fracture.any()
    assert gap.sum() * STEP**3 > 10.0  # mm3
    changed = np.abs(torn.hu - whole.hu) > 1.0
    reach = np.zeros(grid.shape, bool)
    for crack in cracks:
        window = grid.seen_from(neck().frames[level].affine).window(crack.box(), 1.0)
        assert window is not None
        reach[window] = True
    assert not (changed & ~reach).any()
    crushed = [bool(crack.crush_mm) for crack in cracks]
    if all(crushed):
        assert torn.hu[gap].mean() > whole.hu[gap].mean() + 50
    elif any(crushed):  # a burst body has both
        lost, dense = np.percentile((torn.hu - whole.hu)[gap], [5, 95])
        assert lost < -200
        assert dense > 50
    else:
        assert torn.hu[gap].mean() < whole.hu[gap].mean() - 150
    np.testing.assert_array_equal(whole.labels == 0, (whole.labels == 0) & ~(whole.labels > 9))
    others = (whole.labels != SEGMENT_NUMBERS[level]) & (torn.labels != SEGMENT_NUMBERS[level])
    np.testing.assert_array_equal(whole.labels[others], torn.labels[others])


@pytest.mark.parametrize(("level", "kind"), [("C2", "dens type II"), ("C7", "spinous process"), ("C5", "teardrop")])
def test_the_gap_is_as_wide_as_the_truth_says(level: Level, kind: str) -> None:
    (crack,) = broken(level, kind)
    still = replace(crack, shift_mm=np.zeros(3), turn_rad=np.zeros(3), waves=crack.waves * 0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = crack.normal * 0.02, crack.centre_mm - crack.normal
    affine[:3, 1:3] = np.linalg.svd(crack.normal[None])[2][1:].T
    through = break_bone(neck().bone(level), Grid(affine, (101, 1, 1)), (still,))

    assert (through.field[:, 0, 0] > 0).sum() * 0.02 == pytest.approx(crack.width_mm, abs=0.1)


def test_a_crack_finer_than_the_slices_is_marked_all_through_the_bone() -> None:
    (crack,) = broken("C2", "dens type II")
    fine = replace(crack, width_mm=0.3, shift_mm=np.zeros(3), turn_rad=np.zeros(3), extent_mm=90.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = 2.0, 0.5, 0.5
    affine[:, 3] = [*(crack.centre_mm - by(6.0, 6.0, 7.0)), 1.0]
    found = break_bone(neck().bone("C2"), Grid(affine, (8, 25, 25)), (fine,))
    within = np.all(found.skin[1:7] < -0.5, axis=0)  # bone all the way up

    assert np.count_nonzero(within) > 50
    assert np.all(np.any(found.gap, axis=0)[within])


def test_a_fragment_that_is_loose_moves_as_one() -> None:
    (crack,) = broken("C2", "dens type II")
    moved = replace(crack, shift_mm=np.array([2.0, 0.0, 1.0]), turn_rad=np.zeros(3))
    tip = crack.centre_mm + by(0.0, 1.2, 9.0)
    affine = np.eye(4)
    affine[:3, :3] *= 0.25
    affine[:3, 3] = tip - 4.0
    grid = Grid(affine, (33, 33, 33))
    shifted = Grid(affine.copy(), grid.shape)
    shifted.affine[:3, 3] += moved.shift_mm

    whole = break_bone(neck().bone("C2"), grid, ()).field
    np.testing.assert_allclose(break_bone(neck().bone("C2"), shifted, (moved,)).field, whole, atol=1e-3)


def test_a_compressed_body_is_lower_in_front() -> None:
    (crack,) = broken("C5", "body compression")
    crack = replace(crack, crush_mm=4.0, waves=crack.waves * 0)
    height, depth = (neck().person.measures["C5"][name] for name in ("body height", "body depth above"))

    def top(y: float, cracks: tuple[Crack, ...]) -> float:
        affine = np.diag([0.1, 0.1, 0.1, 1.0])[:, [2, 1, 0, 3]]
        affine[:3, 3] = [0.0, y, 0.0]
        inside = break_bone(neck().bone("C5"), Grid(affine, (120, 1, 1)), cracks).field[:, 0, 0] < 0
        return 0.1 * float(np.flatnonzero(inside)[-1])

    lost = {y: top(y, ()) - top(y, (crack,)) for y in (-0.38 * depth, 0.38 * depth)}
    front, behind = lost.values()
    assert front > behind + 0.8
    assert 1.5 < front <= 4.1
    assert top(0.0, ()) == pytest.approx(height / 2, abs=1.0)


def test_partial_cracks_end_within_the_bone() -> None:
    rng = np.random.default_rng(1)
    drawn = [crack for _ in range(200) for crack in draw_cracks("C6", neck().person, WIDE, rng)]
    partial = [crack for crack in drawn if not crack.crush_mm and not crack.shift_mm.any()]

    assert 0.15 < len(partial) / len(drawn) < 0.45
    crack = partial[0]
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = crack.centre_mm - 15.0
    field = crack.half_gap(Grid(affine, (61, 61, 61)).points())
    assert field.max() == pytest.approx(crack.width_mm / 2, rel=0.05)
    assert (field[0] == 0).all()


@pytest.mark.parametrize("level", VERTEBRAE)
def test_shares_of_a_level_sum_to_one(level: Level) -> None:
    assert sum(site.share for site in sites(level, neck().person)) == pytest.approx(1.0)


def test_the_mix_of_fractures_can_be_tuned() -> None:
    only = {site.kind: 0.0 for site in sites("C2", neck().person)} | {"hangman": 1.0}
    settings = WIDE.model_copy(update={"fracture_mix": only})
    rng = np.random.default_rng(0)

    kinds = {crack.kind for _ in range(30) for crack in draw_cracks("C2", neck().person, settings, rng)}
    assert kinds == {"hangman"}


def test_visibility_grows_with_width_and_displacement_and_falls_with_noise() -> None:
    scanner: Scanner = draw_scanner(neck(), PhantomSettings(matrix=128), np.random.default_rng(0))
    (crack,) = broken("C7", "spinous process")
    crack = replace(crack, width_mm=0.5, shift_mm=np.zeros(3))

    def seen(crack: Crack, scanner: Scanner = scanner) -> float:
        return visibility(crack, 700.0, scanner)

    assert 0.0 < seen(replace(crack, width_mm=0.05)) < 0.35
    assert seen(replace(crack, width_mm=2.0)) > seen(crack) + 0.1
    assert seen(replace(crack, shift_mm=np.array([3.0, 0, 0]))) > seen(crack) + 0.05
    assert seen(crack, replace(scanner, noise_hu=4 * scanner.noise_hu)) < seen(crack) - 0.1
    assert seen(crack, replace(scanner, thickness_mm=6.0)) < seen(crack) - 0.05


def test_truth_holds_every_fracture_of_a_study_and_its_boxes_enclose_it() -> None:
    from cspine.phantom import render_study
    from cspine.phantom.dataset import _boxes

    settings = PhantomSettings(matrix=128, slice_spacing_mm=(1.2, 1.2), prevalence=1.0)
    for index in range(3):
        study = render_study(21, index, settings)
        truth = study.truth
        assert {fracture["level"] for fracture in truth["fractures"]} == set(truth["levels"])
        assert all(0.0 <= fracture["visibility"] <= 1.0 for fracture in truth["fractures"])
        boxes: npt.NDArray[np.bool_] = np.zeros(study.hu.shape, bool)
        for box in _boxes(study, "1.2.3", upward=True):
            rows = slice(int(box["y"]), int(box["y"] + box["height"]))
            boxes[box["slice_number"] - 1, rows, int(box["x"]) : int(box["x"] + box["width"])] = True
        assert boxes[study.fracture > 0].all()
        assert set(np.unique(study.fracture)) - {0} <= {SEGMENT_NUMBERS[level] for level in truth["levels"]}
    whole = render_study(21, 0, settings.model_copy(update={"prevalence": 0.0}))
    assert not whole.fracture.any()
    assert whole.truth["fractures"] == []
