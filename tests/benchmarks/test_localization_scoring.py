"""Comparison of predictions with the truth, rates over them, and the requirements on them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import highdicom
import numpy as np
import pytest
from benchmarks.localization.must_hold import (
    FALSE_REASON,
    UNEXPLAINED,
    check_cord,
    check_explained,
    check_neck,
    check_phantoms,
    check_real,
    describe_wrong,
    explanation,
)
from benchmarks.localization.prediction import NamedVertebra, Prediction
from benchmarks.localization.rates import summarize
from benchmarks.localization.scoring import CaseScore, score
from benchmarks.localization.truth import ScanTruth, TrueVertebra, truth_in

from cspine.core.findings import Coverage

Z_MM = {"C1": 120.0, "C2": 105.0, "C3": 85.0, "C4": 68.0, "C5": 51.0, "C6": 34.0, "C7": 17.0, "T1": 0.0}


def named(level: str, *, z_mm: float | None = None, y_mm: float = 0.0, confidence: float = 0.99) -> NamedVertebra:
    origin = (0.0, y_mm, Z_MM[level] if z_mm is None else z_mm)
    return NamedVertebra(
        level=level,
        origin_lps_mm=origin,
        centroid_lps_mm=origin,
        axes_lps=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        coverage="complete",
        confidence=confidence,
    )


def true(level: str, coverage: Coverage = "complete") -> TrueVertebra:
    point = np.array([0.0, 0.0, Z_MM[level]])
    return TrueVertebra(level, point, np.eye(3), frozenset([coverage]), is_required=coverage != "absent")


NECK = ScanTruth({level: true(level) for level in Z_MM}, np.array([[0.0, 15.0, z] for z in np.arange(-20.0, 140.0)]))
HEAD = ScanTruth({level: true(level, "complete" if z > 60 else "absent") for level, z in Z_MM.items()})
CHEST = ScanTruth({"T1": true("T1")})
ALL_RIGHT = tuple(named(level) for level in Z_MM)


def scored(vertebrae: Sequence[NamedVertebra], truth: ScanTruth = NECK, **stated: Any) -> CaseScore:
    prediction = Prediction(vertebrae=tuple(vertebrae)).model_copy(update=stated)
    return score("a", "as-is", prediction, truth)


def test_a_neck_that_is_right_is_whole() -> None:
    case = scored(ALL_RIGHT)

    assert case.has_neck
    assert case.is_whole
    assert case.are_names_right
    assert [level.error_mm for level in case.required] == [0.0] * 7
    assert set(case.cord_distances_mm.values()) == {15.0}
    assert describe_wrong(case) == ""


def test_names_shifted_by_one_are_wrong_and_no_error_of_position() -> None:
    shifted = [named("C2", z_mm=Z_MM["C1"]), named("C3", z_mm=Z_MM["C2"])]
    case = scored(shifted, HEAD)

    assert not case.are_names_right
    assert not len(case.errors_mm)
    assert describe_wrong(case) == "C1 is missing, C2 is wrong (0.99), C3 is wrong (0.99), C4 is missing"


def test_wrong_names_may_state_the_right_one_as_alternative() -> None:
    wrong = named("C3", z_mm=Z_MM["C2"] + 2.0).model_copy(update={"alternatives": ("C4", "C2")})
    other = named("C4", z_mm=Z_MM["C3"]).model_copy(update={"alternatives": ("C5",)})

    summary = summarize([scored([wrong, other], HEAD)])

    assert (summary.n_wrong_names, summary.n_right_alternatives) == (2, 1)


def test_a_level_six_mm_off_has_the_right_name_in_the_wrong_place() -> None:
    vertebrae = [named("C4", z_mm=Z_MM["C4"] + 6.0) if each.level == "C4" else each for each in ALL_RIGHT]
    case = scored(vertebrae)
    (c4,) = [level for level in case.levels if level.level == "C4"]

    assert case.are_names_right
    assert not case.is_whole
    assert c4.is_name_right
    assert not c4.is_right
    assert c4.error_in_frame_mm.tolist() == [0.0, 0.0, 6.0]


def test_a_level_that_lies_outside_must_not_be_named() -> None:
    right = [each for each in ALL_RIGHT if Z_MM[each.level] > 60]

    assert scored(right, HEAD).is_whole
    assert not scored([*right, named("C5")], HEAD).is_whole
    assert not scored([named("C7", z_mm=0.0)], CHEST).are_names_right
    assert scored([], CHEST).is_whole


def test_a_level_without_known_position_may_be_named_away_from_the_others() -> None:
    assert HEAD.vertebrae is not None
    cut = replace(true("C5", "partial"), point_lps_mm=None, is_required=False)
    truth = ScanTruth({**HEAD.vertebrae, "C5": cut})
    right = [each for each in ALL_RIGHT if Z_MM[each.level] > 60]

    assert scored(right, truth).is_whole
    assert scored([*right, named("C5", z_mm=51.0)], truth).is_whole
    assert not scored([*right, named("C5", z_mm=64.0)], truth).is_whole


def volume(low_z_mm: float, n_slices: int) -> highdicom.VolumeGeometry:
    affine = np.array([[0, 0, 1, -100], [0, 1, 0, -100], [1, 0, 0, low_z_mm], [0, 0, 0, 1.0]])
    return highdicom.VolumeGeometry(affine, (n_slices, 200, 200), "PATIENT")


def test_a_cut_scan_requires_and_covers_less() -> None:
    seen = truth_in(NECK, volume(60.0, 100), is_cut=True).vertebrae

    assert seen is not None
    assert [level for level, each in seen.items() if each.is_required] == ["C1", "C2", "C3", "C4"]
    assert seen["C2"].coverages == {"complete"}
    assert seen["C4"].coverages == {"complete", "partial"}
    assert seen["C5"].coverages == {"partial", "absent"}
    assert seen["C6"].coverages == {"absent"}


def test_coverage_of_an_uncut_scan_is_the_readers() -> None:
    seen = truth_in(HEAD, volume(-50.0, 300), is_cut=False).vertebrae

    assert seen is not None
    assert seen["C4"].coverages == {"complete"}
    assert seen["C5"].coverages == {"absent"}


def test_summary_counts_scans_levels_and_confident_errors() -> None:
    cases = [
        scored(ALL_RIGHT),
        scored([named("C2", z_mm=120.0, confidence=0.95), named("C3", z_mm=105.0, confidence=0.5)], HEAD,
               not_found=("C4",), doubts=("level-uncertain: x",)),
        scored([], CHEST, refusal="no-cervical-spine"),
        scored([named("C7", z_mm=0.0, confidence=0.8)], CHEST),
    ]  # fmt: skip
    summary = summarize([replace(case, scan=str(number)) for number, case in enumerate(cases)])

    assert (summary.n_scans, summary.n_levels) == (4, 11)
    assert summary.whole.value == 0.5
    assert summary.right.value == pytest.approx(7 / 11)
    assert summary.none_named.value == 0.5
    assert (summary.n_wrong_names, summary.n_confident_errors) == (3, 1)
    assert (summary.n_not_found, summary.n_uncertain) == (1, 1)
    assert summary.refusals == {"no-cervical-spine": 1}
    assert summary.median_error_mm == 0.0
    assert 0.1 < summary.calibration_error < 0.5


def test_bias_is_the_mean_error_along_the_axes() -> None:
    high = [named(level, z_mm=z + 3.0, y_mm=-1.0) for level, z in Z_MM.items()]

    assert summarize([scored(high)]).bias_mm.tolist() == pytest.approx([0.0, -1.0, 3.0])


def test_requirement_on_necks_limits_single_and_median_errors() -> None:
    near = [named(level, z_mm=z + 2.0) for level, z in Z_MM.items()]
    far = [named(level, z_mm=z + 3.0) for level, z in Z_MM.items()]
    one_far = [*near[:3], named("C4", z_mm=Z_MM["C4"] + 4.5), *near[4:]]

    assert check_neck(scored(near)) == ("names right; 2.0 mm at most, median 2.0 mm", True)
    assert not check_neck(scored(far))[1]
    assert not check_neck(scored(one_far))[1]
    assert not check_neck(scored(near[1:]))[1]


def test_requirements_on_real_scans_name_what_was_not_run() -> None:
    rows = check_real([replace(scored(ALL_RIGHT), scan="vtk-head"), replace(scored([]), scan="philips-study")])
    by_text = {row.text: row for row in rows}

    assert by_text["philips-study: no cervical level"].is_met is True
    assert [row.is_met for row in rows if row.text.startswith("vtk-head, as-is")] == [True]
    assert by_text["chest-thick: no cervical level"].is_met is None


def planning(vertebrae: Sequence[NamedVertebra], number: int, **stated: Any) -> CaseScore:
    return replace(scored(vertebrae, NECK, **stated), scan=f"openkbp-pt_{number}")


def test_one_level_far_from_the_cord_fails_all_planning_scans() -> None:
    near = planning(ALL_RIGHT, 1)
    far = planning([*ALL_RIGHT[:-1], named("T1", y_mm=60.0)], 2)

    assert check_cord([near]).is_met is True
    assert check_cord([near, far]).is_met is False
    assert "(pt_2); 45 mm" in check_cord([near, far]).result


def test_missing_levels_need_a_reason() -> None:
    lower = ALL_RIGHT[1:]

    assert explanation(planning(ALL_RIGHT, 1)) == "with seven levels"
    assert explanation(planning(lower, 1)) == UNEXPLAINED
    assert explanation(planning(lower, 1, not_found=("C1",))) == "with levels stated as not found"
    upper = [each for each in ALL_RIGHT if Z_MM[each.level] > 60]
    cut = replace(scored(upper, HEAD), scan="openkbp-pt_1")
    assert explanation(cut) == "whose other levels lie outside"
    assert explanation(replace(scored(upper, HEAD, not_found=("C5",)), scan="openkbp-pt_1")) == FALSE_REASON
    assert explanation(planning(lower, 1, doubts=("level-uncertain: x",))) == "`level-uncertain`"
    assert explanation(planning([], 1, refusal="no-cervical-spine")) == "refused (`no-cervical-spine`)"
    assert check_explained([planning(lower, number) for number in range(24)]).is_met is False
    assert check_explained([planning(ALL_RIGHT, number) for number in range(20)]).is_met is True


def test_requirements_on_phantoms_are_bounds_of_the_summary() -> None:
    cases = [replace(scored(ALL_RIGHT), scan=str(number)) for number in range(3)]
    cases += [replace(scored([], CHEST), scan="4")]
    met = check_phantoms(summarize(cases))
    unmet = check_phantoms(summarize([*cases, replace(scored([named("C7", z_mm=0.0)], CHEST), scan="5")]))

    assert all(row.is_met for row in met)
    assert [row.is_met for row in unmet] == [True, True, True, False, False, False, False]
