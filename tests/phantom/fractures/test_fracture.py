"""Every kind of fracture is a real gap or a real loss of height, where the truth says, and nowhere else."""

from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS, VERTEBRAE, Level
from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.solids import Cloud, by
from cspine.phantom.fractures.breaking import break_bone
from cspine.phantom.fractures.fracture import Fracture, draw_fractures, sites
from cspine.phantom.sampler import draw_broken_neck
from cspine.phantom.scanner.render import render
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import DOMAINS
from cspine.phantom.study import known_fractures, visibility

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


def broken(level: Level, kind: str) -> tuple[Fracture, ...]:
    """A plain fracture of a kind: displaced, and impacted only where the kind always is."""
    rng, crushed = np.random.default_rng(4), kind == "body compression"
    while True:
        fractures = draw_fractures(level, neck().person, WIDE, rng, kind=kind)
        if bool(fractures[0].crush_mm) == crushed and (crushed or np.linalg.norm(fractures[0].shift_mm) > 0.8):
            return fractures


def bone_of(level: Level, fractures: tuple[Fracture, ...]) -> npt.NDArray[np.float64]:
    """Places of bone in the vertebra's frame, (n, 3)."""
    grid = around(level).seen_from(neck().frames[level].affine)
    index = np.argwhere(break_bone(neck().bone(level), grid, fractures).field < 0)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def pieces_mm3(level: Level, fractures: tuple[Fracture, ...]) -> list[float]:
    """The sizes of the pieces that a vertebra is in, the largest first; crumbs under 30 cubic mm are none."""
    grid = around(level).seen_from(neck().frames[level].affine)
    labels, _ = ndimage.label(break_bone(neck().bone(level), grid, fractures).field < 0)
    sizes = np.bincount(labels.ravel())[1:] * STEP**3
    return sorted((size for size in sizes.tolist() if size > 30.0), reverse=True)


@pytest.mark.parametrize(("level", "kind"), KINDS)
def test_a_fracture_is_where_the_truth_says_and_nowhere_else(level: Level, kind: str) -> None:
    fractures = broken(level, kind)
    grid = around(level)
    hurt = replace(neck().broken({level: fractures}), swelling=())
    whole, torn = render(neck(), grid), render(hurt, grid)

    gap = torn.fracture_mask > 0
    assert set(np.unique(torn.fracture_mask)) == {0, SEGMENT_NUMBERS[level]}
    assert not whole.fracture_mask.any()
    assert gap.sum() * STEP**3 > 10.0  # mm3
    changed = np.abs(torn.hu - whole.hu) > 1.0
    reach = np.zeros(grid.shape, bool)
    for fracture in fractures:
        window = grid.seen_from(neck().frames[level].affine).window(fracture.box(), 1.0)
        assert window is not None
        reach[window] = True
    assert not (changed & ~reach).any()
    crushed = [bool(fracture.crush_mm) for fracture in fractures]
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


LOOSE = [(level, site.kind) for level in ("C2", "C5", "C7") for site in sites(level, neck().person) if site.loose]


@pytest.mark.parametrize(("level", "kind"), LOOSE)
def test_a_loose_fragment_is_a_piece_of_its_own(level: Level, kind: str) -> None:
    (fracture,) = broken(level, kind)
    parted = replace(fracture, shift_mm=2.0 * fracture.normal, turn_rad=np.zeros(3))  # rough faces that slide may touch

    whole, torn = pieces_mm3(level, ()), pieces_mm3(level, (parted,))
    assert len(whole) == 1
    assert len(torn) == 2
    assert torn[1] > 80.0


def test_a_jefferson_fracture_breaks_both_arches_and_its_lateral_masses_part() -> None:
    fractures = broken("C1", "Jefferson burst")

    whole, torn = (bone_of("C1", found) for found in ((), fractures))

    assert len(pieces_mm3("C1", fractures)) == 4
    out = {float(np.sign(fracture.centre_mm[0])): abs(float(fracture.shift_mm[0])) for fracture in fractures}
    assert set(out) == {-1.0, 1.0}
    for side, shift in out.items():  # each lateral mass has gone outwards by as much as is said
        reach = [(side * places[:, 0]).max() for places in (whole, torn)]
        assert reach[1] - reach[0] == pytest.approx(shift, abs=STEP)


def test_a_fragment_that_leaves_opens_a_gap_as_wide_as_it_has_gone() -> None:
    (fracture,) = broken("C2", "dens type II")
    moved = replace(
        fracture, width_mm=0.8, shift_mm=3.0 * fracture.normal, turn_rad=np.zeros(3), waves=fracture.waves * 0
    )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = fracture.normal * 0.02, fracture.centre_mm - 2.0 * fracture.normal
    affine[:3, 1:3] = np.linalg.svd(fracture.normal[None])[2][1:].T
    found = break_bone(neck().bone("C2"), Grid(affine, (301, 1, 1)), (moved,))

    assert moved.gap_mm == pytest.approx(3.4)
    assert (found.field[:, 0, 0] > 0).sum() * 0.02 == pytest.approx(moved.gap_mm, abs=0.1)
    assert found.gap[:, 0, 0].sum() * 0.02 == pytest.approx(moved.gap_mm, abs=0.1)


def test_impacted_joints_tear_nothing_at_the_border_of_what_sinks() -> None:
    rng = np.random.default_rng(3)
    fracture = next(
        fracture
        for _ in range(200)
        if (fracture := draw_fractures("C5", neck().person, WIDE, rng, kind="facet")[0]).crush_mm
    )
    y = fracture.half_mm[1] * np.linspace(-0.999, 0.999, 400)
    cloud = Cloud(
        np.full(400, fracture.centre_mm[0], np.float32), (fracture.centre_mm[1] + y).astype(np.float32),
        np.full(400, fracture.centre_mm[2], np.float32),
    )  # fmt: skip
    sunk = fracture.inverse_warp(cloud).coordinates(fracture.centre_mm)[2]

    assert sunk.max() > 0.3 * fracture.crush_mm
    assert abs(sunk[0]) < 0.05
    assert np.abs(np.diff(sunk)).max() < 0.1


def test_bursts_are_never_partial_and_some_dens_fractures_are_impacted() -> None:
    rng = np.random.default_rng(5)

    drawn = [draw_fractures("C2", neck().person, WIDE, rng, kind="dens type III")[0] for _ in range(200)]
    assert 0.15 < np.mean([fracture.crush_mm > 0 for fracture in drawn]) < 0.35
    for _ in range(60):
        assert draw_fractures("C1", neck().person, WIDE, rng, kind="Jefferson burst")[0].shift_mm.any()


def test_some_vertebrae_are_broken_in_two_ways() -> None:
    rng = np.random.default_rng(6)

    kinds = [{fracture.kind for fracture in draw_fractures("C5", neck().person, WIDE, rng)} for _ in range(300)]

    assert {len(found) for found in kinds} == {1, 2}
    assert 0.12 < np.mean([len(found) == 2 for found in kinds]) < 0.28
    with pytest.raises(ValueError, match="C5 has no fractures of the kind 'hangman'"):
        draw_fractures("C5", neck().person, WIDE, rng, kind="hangman")


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5, 0.75])
def test_a_fine_crack_along_slices_is_as_dark_wherever_they_lie(offset: float) -> None:
    fracture = replace(
        broken("C2", "dens type II")[0], width_mm=0.4, shift_mm=np.zeros(3), turn_rad=np.zeros(3), extent_mm=90.0,
        normal=np.array([0.0, 0.0, 1.0]), waves=np.zeros((1, 4)),
    )  # fmt: skip
    frame = neck().frames["C2"].affine
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 0.75, 0.22, 0.22, 1.0
    affine[:3, 3] = fracture.centre_mm - by(1.1, 1.1, 3.0 + 0.75 * offset)
    grid = Grid(frame @ affine, (9, 11, 11))

    whole = render(neck(), grid, thickness_mm=0.75).hu
    lost = (whole - render(neck().broken({"C2": (fracture,)}), grid, thickness_mm=0.75).hu).sum(axis=0) * 0.75

    expected = 0.4 * (whole.mean() - 40.0)  # the gap is filled with blood
    assert lost.mean() == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize(("level", "kind"), [("C2", "dens type II"), ("C7", "spinous process"), ("C5", "teardrop")])
def test_the_gap_is_as_wide_as_the_truth_says(level: Level, kind: str) -> None:
    (fracture,) = broken(level, kind)
    still = replace(fracture, shift_mm=np.zeros(3), turn_rad=np.zeros(3), waves=fracture.waves * 0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = fracture.normal * 0.02, fracture.centre_mm - fracture.normal
    affine[:3, 1:3] = np.linalg.svd(fracture.normal[None])[2][1:].T
    through = break_bone(neck().bone(level), Grid(affine, (101, 1, 1)), (still,))

    assert (through.field[:, 0, 0] > 0).sum() * 0.02 == pytest.approx(fracture.width_mm, abs=0.1)


def test_a_crack_finer_than_the_slices_is_marked_all_through_the_bone() -> None:
    (fracture,) = broken("C2", "dens type II")
    fine = replace(fracture, width_mm=0.3, shift_mm=np.zeros(3), turn_rad=np.zeros(3), extent_mm=90.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = 2.0, 0.5, 0.5
    affine[:, 3] = [*(fracture.centre_mm - by(6.0, 6.0, 7.0)), 1.0]
    found = break_bone(neck().bone("C2"), Grid(affine, (8, 25, 25)), (fine,))
    within = np.all(found.skin[1:7] < -0.5, axis=0)  # bone all the way up

    assert np.count_nonzero(within) > 50
    assert np.all(np.any(found.gap, axis=0)[within])


def test_a_fragment_that_is_loose_moves_as_one() -> None:
    (fracture,) = broken("C2", "dens type II")
    moved = replace(fracture, shift_mm=np.array([2.0, 0.0, 1.0]), turn_rad=np.zeros(3))
    tip = fracture.centre_mm + by(0.0, 1.2, 9.0)
    affine = np.eye(4)
    affine[:3, :3] *= 0.25
    affine[:3, 3] = tip - 4.0
    grid = Grid(affine, (33, 33, 33))
    shifted = Grid(affine.copy(), grid.shape)
    shifted.affine[:3, 3] += moved.shift_mm

    whole = break_bone(neck().bone("C2"), grid, ()).field
    np.testing.assert_allclose(break_bone(neck().bone("C2"), shifted, (moved,)).field, whole, atol=1e-3)


def test_a_compressed_body_is_lower_in_front() -> None:
    (fracture,) = broken("C5", "body compression")
    fracture = replace(fracture, crush_mm=4.0, waves=fracture.waves * 0)
    height, depth = (neck().person.measures["C5"][name] for name in ("body height", "body depth above"))

    def top(y: float, fractures: tuple[Fracture, ...]) -> float:
        affine = np.diag([0.1, 0.1, 0.1, 1.0])[:, [2, 1, 0, 3]]
        affine[:3, 3] = [0.0, y, 0.0]
        inside = break_bone(neck().bone("C5"), Grid(affine, (120, 1, 1)), fractures).field[:, 0, 0] < 0
        return 0.1 * float(np.flatnonzero(inside)[-1])

    lost = {y: top(y, ()) - top(y, (fracture,)) for y in (-0.38 * depth, 0.38 * depth)}
    front, behind = lost.values()
    assert front > behind + 1.5
    assert 3.0 < front <= 4.1
    assert top(0.0, ()) == pytest.approx(height / 2, abs=1.0)


def test_partial_cracks_end_within_the_bone() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_fractures("C6", neck().person, WIDE, rng, kind="lamina")[0] for _ in range(200)]
    partial = [fracture for fracture in drawn if not fracture.shift_mm.any()]

    assert 0.25 < len(partial) / len(drawn) < 0.45
    fracture = partial[0]
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = fracture.centre_mm - 15.0
    field = fracture.half_gap(Grid(affine, (61, 61, 61)).points())
    assert field.max() == pytest.approx(fracture.width_mm / 2, rel=0.05)
    assert (field[0] == 0).all()


@pytest.mark.parametrize("level", VERTEBRAE)
def test_shares_of_a_level_sum_to_one(level: Level) -> None:
    assert sum(site.share for site in sites(level, neck().person)) == pytest.approx(1.0)


def test_the_mix_of_fractures_can_be_tuned() -> None:
    only = {site.kind: 0.0 for site in sites("C2", neck().person)} | {"hangman": 1.0}
    settings = WIDE.model_copy(update={"fracture_mix": only})
    rng = np.random.default_rng(0)

    kinds = {fracture.kind for _ in range(30) for fracture in draw_fractures("C2", neck().person, settings, rng)}
    assert kinds == {"hangman"}


def test_visibility_grows_with_width_and_displacement_and_falls_with_noise() -> None:
    scanner: Scanner = draw_scanner(neck(), PhantomSettings(matrix=128), np.random.default_rng(0))
    (fracture,) = broken("C7", "spinous process")
    fracture = replace(fracture, width_mm=0.25, shift_mm=np.zeros(3))

    def coordinates(fracture: Fracture, scanner: Scanner = scanner) -> float:
        return visibility(fracture, 700.0, scanner)

    assert 0.0 < coordinates(replace(fracture, width_mm=0.05)) < 0.35
    assert coordinates(replace(fracture, width_mm=2.0)) > coordinates(fracture) + 0.1
    assert coordinates(replace(fracture, shift_mm=np.array([3.0, 0, 0]))) > coordinates(fracture) + 0.05
    assert coordinates(fracture, replace(scanner, noise_hu=4 * scanner.noise_hu)) < coordinates(fracture) - 0.1
    assert coordinates(fracture, replace(scanner, thickness_mm=6.0)) < coordinates(fracture) - 0.05
    assert (
        visibility(fracture, 700.0, scanner, 4 * scanner.noise_hu) < coordinates(fracture) - 0.1
    )  # where it lies it is noisier


@pytest.mark.parametrize("domain", ["source", "shifted"])
def test_fractures_are_from_occult_to_obvious(domain: str) -> None:
    words: Counter[str] = Counter()
    settings = DOMAINS[domain].model_copy(update={"prevalence": 1.0})
    for index in range(30):
        drawn, scanner = draw_broken_neck(44, index, settings)
        words.update(found["visibility_word"] for found in known_fractures(drawn, scanner))

    assert set(words) == {"occult", "subtle", "clear", "obvious"}
    assert max(words.values()) < 0.6 * words.total()


def test_truth_holds_every_fracture_of_a_study_and_its_boxes_enclose_it() -> None:
    from cspine.phantom import render_study
    from cspine.phantom.dataset import _boxes

    settings = PhantomSettings(matrix=128, slice_spacing_mm=(1.2, 1.2), prevalence=1.0)
    for index in range(3):
        study = render_study(21, index, settings)
        truth = study.truth
        assert {fracture["level"] for fracture in truth["fractures"]} == set(truth["levels"])
        assert all(0.0 <= fracture["visibility"] <= 1.0 for fracture in truth["fractures"])
        for level in truth["levels"]:
            assert max(found["scanned"] for found in truth["fractures"] if found["level"] == level) >= 0.1
        boxes: npt.NDArray[np.bool_] = np.zeros(study.hu.shape, bool)
        for box in _boxes(study, "1.2.3", upward=True):
            rows = slice(int(box["y"]), int(box["y"] + box["height"]))
            boxes[box["slice_number"] - 1, rows, int(box["x"]) : int(box["x"] + box["width"])] = True
        assert boxes[study.broken > 0].all()
        assert set(np.unique(study.broken)) - {0} <= {SEGMENT_NUMBERS[level] for level in truth["levels"]}
    whole = render_study(21, 0, settings.model_copy(update={"prevalence": 0.0}))
    assert not whole.broken.any()
    assert whole.truth["fractures"] == []


def test_two_fractures_of_a_vertebra_have_masks_and_boxes_of_their_own() -> None:
    from cspine.phantom import render_study
    from cspine.phantom.dataset import _boxes

    settings = PhantomSettings(
        matrix=160, slice_spacing_mm=(1.0, 1.0), prevalence=1.0, p_additional_fracture=0.5, shortened=0.5
    )
    twice = 0
    for index in range(4):
        study = render_study(24, index, settings)
        found = study.truth["fractures"]
        values = [fracture["mask_value"] for fracture in found]
        assert len(set(values)) == len(values)
        assert set(np.unique(study.fracture_mask)) <= {0, *values}
        for fracture in found:
            assert fracture["mask_value"] % FRACTURE_STEP == SEGMENT_NUMBERS[fracture["level"]]
            assert fracture["scanned"] >= 0.1
        boxed = {(box["level"], box["mask_value"]) for box in _boxes(study, "1.2.3", upward=True)}
        assert boxed == {(fracture["level"], fracture["mask_value"]) for fracture in found}
        coordinates = set(np.unique(study.fracture_mask)) - {0}
        twice += len(coordinates) - len({value % FRACTURE_STEP for value in coordinates})
    assert twice > 0


def test_cracks_are_numbered_by_their_order_and_old_ones_are_no_fracture() -> None:
    from cspine.phantom.fractures.breaking import Flaws

    first, second, old = (broken("C5", kind)[0] for kind in ("spinous process", "teardrop", "lamina"))
    grid = around("C5").seen_from(neck().frames["C5"].affine)
    parts = neck().bone("C5")

    both = break_bone(parts, grid, (first, second), Flaws(old=(old,)))
    alone = break_bone(parts, grid, (), Flaws(old=(old,)))

    assert set(np.unique(both.gap)) == {0, 1, 2}
    assert not alone.gap.any()
    assert (alone.field > alone.skin).any() or not np.array_equal(alone.field, break_bone(parts, grid).field)
    one = break_bone(parts, grid, (first,)).gap > 0
    assert (both.gap[one] == 1).mean() > 0.5
