"""Operating points meet their targets; calibrated patients are never below their vertebrae."""

import numpy as np
import pytest

from cspine.metrics.calibration import Calibration, calibrate_cases
from cspine.metrics.operating_points import choose_operating_points

RNG = np.random.default_rng(2)
TRUTH = RNG.random(600) < 0.3
SCORE = 1 / (1 + np.exp(-RNG.normal(2.0 * TRUTH - 1.0, 1.0)))


def test_points_meet_their_targets() -> None:
    rule_out, triage = choose_operating_points(TRUTH, SCORE)

    assert (rule_out.name, triage.name) == ("rule-out", "triage")
    assert rule_out.sensitivity >= 0.97
    assert triage.specificity >= 0.9
    assert rule_out.threshold < triage.threshold
    assert rule_out.sensitivity == pytest.approx(np.mean(SCORE[TRUTH] >= rule_out.threshold))


def test_weight_equals_repetition_of_a_case() -> None:
    weights = RNG.integers(1, 5, len(TRUTH))

    weighted = choose_operating_points(TRUTH, SCORE, weights)
    repeated = choose_operating_points(np.repeat(TRUTH, weights), np.repeat(SCORE, weights))

    for one, other in zip(weighted, repeated, strict=True):
        assert one.threshold == pytest.approx(other.threshold)
        assert one.sensitivity == pytest.approx(other.sensitivity)
        assert one.specificity == pytest.approx(other.specificity)


def test_criteria_are_met_in_each_group() -> None:
    group = np.where(RNG.random(len(TRUTH)) < 0.2, "real", "phantom")
    shifted = np.where(group == "real", SCORE**0.5, SCORE)

    pooled = choose_operating_points(TRUTH, shifted)
    rule_out, triage = choose_operating_points(TRUTH, shifted, groups=group)

    for name in ("real", "phantom"):
        part = group == name
        assert np.mean(shifted[part & ~TRUTH] < triage.threshold) >= 0.9
        assert np.mean(shifted[part & TRUTH] >= rule_out.threshold) >= 0.97
    assert np.mean(shifted[(group == "real") & ~TRUTH] < pooled[1].threshold) < 0.9
    assert triage.specificity == pytest.approx(np.mean(shifted[~TRUTH] < triage.threshold))


def test_one_class_gives_no_points() -> None:
    assert choose_operating_points([1, 1], [0.2, 0.9]) == ()


def test_calibrated_patient_is_never_below_its_vertebrae() -> None:
    level = Calibration(method="platt", slope=1.0, intercept=1.0)
    overall = Calibration(method="platt", slope=1.0, intercept=-2.0)
    levels = RNG.random((50, 7))
    levels[:, 6] = np.nan

    calibrated_levels, calibrated_patients = calibrate_cases(level, overall, levels, np.nanmax(levels, axis=1))

    assert np.all(calibrated_patients >= np.nanmax(calibrated_levels, axis=1))
    assert np.isnan(calibrated_levels[:, 6]).all()
