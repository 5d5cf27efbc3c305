"""Fitted numbers of the level assignment make the true levels more probable, and confidence calibrated."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.core.errors import InputError
from cspine.localization.level_evidence import N_CLASSES, AnchorEvidence, Detections
from cspine.spine.level_settings import LEVELS, SPACING_MM, LevelAssignmentSettings
from cspine.training.localizer.fit_levels import (
    LabeledScan,
    fit_level_assignment,
    level_reliability,
    negative_log_likelihood,
)

CLASSES = np.array([*range(9), *[9] * 10, *[10] * 6])


def draw_scans(count: int, seed: int, *, false_below: bool = False) -> list[LabeledScan]:
    """Return scans of four vertebrae that begin anywhere, in which the network is 90 % sure, and right in half."""
    rng, scans = np.random.default_rng(seed), []
    for number in range(count):
        first = number % 6
        levels = np.arange(first, first + 4)
        seen = levels + rng.choice([-1, 0, 1], p=[0.25, 0.5, 0.25])
        probabilities = np.full((4, N_CLASSES), 0.01)
        probabilities[np.arange(4), CLASSES[np.clip(seen, 0, len(LEVELS) - 1)]] = 0.9
        frames = np.tile(np.eye(4), (4, 1, 1))
        frames[1:, 2, 3] = -np.cumsum(1.2 * np.array(SPACING_MM)[levels[:-1]] * np.exp(rng.normal(0, 0.05, 3)))
        names: list[str | None] = [LEVELS[level] for level in levels]
        if false_below:
            names[-1] = None
        scans.append(LabeledScan(Detections(probabilities, frames, np.full(4, 5.0)), tuple(names)))
    return scans


def test_a_fit_on_a_network_that_is_too_certain_calibrates_the_confidence() -> None:
    start = LevelAssignmentSettings(temperature=2.5)
    train, held_out = draw_scans(18, seed=1), draw_scans(60, seed=2)

    fitted = fit_level_assignment(train, start, max_evaluations=30)

    before, after = level_reliability(held_out, start), level_reliability(held_out, fitted)
    assert negative_log_likelihood(held_out, fitted) < 0.7 * negative_log_likelihood(held_out, start)
    assert after.expected_calibration_error < 0.6 * before.expected_calibration_error
    assert after.certain_of_wrong_fraction < before.certain_of_wrong_fraction
    assert fitted.min_class_probability > start.min_class_probability
    assert LevelAssignmentSettings.model_validate_json(fitted.model_dump_json()) == fitted


def test_distances_are_measured_and_others_scaled() -> None:
    fitted = fit_level_assignment(draw_scans(60, seed=1), max_evaluations=1)

    ratios = np.array(fitted.spacing_mm) / np.array(SPACING_MM)
    assert ratios == pytest.approx(np.full(len(LEVELS), 1.2), rel=0.05)
    prior = np.exp(fitted.first_level_log_prior)
    assert prior.sum() == pytest.approx(1.0)
    assert prior[:6].min() > 0.12


def test_evidence_that_no_scan_has_keeps_its_numbers() -> None:
    start = LevelAssignmentSettings(temperature=2.5)

    fitted = fit_level_assignment(draw_scans(6, seed=1), start, max_evaluations=20)

    names = ("voxels_per_vote", "max_votes", "crop_weight", "skull_distance_mm", "skull_log_sd")
    assert [getattr(fitted, name) for name in names] == [getattr(start, name) for name in names]


def test_the_skull_is_fitted_where_it_was_seen() -> None:
    scans = []
    for scan in draw_scans(6, seed=3):
        if scan.levels[0] != "C1":
            scans.append(scan)
            continue
        parts, anchors = scan.detections, AnchorEvidence(np.array([0.0, 0.0, 30.0]))
        seen = Detections(parts.class_probabilities, parts.frames, parts.log_odds, None, anchors)
        scans.append(LabeledScan(seen, scan.levels))
    start = LevelAssignmentSettings(temperature=2.5)

    fitted = fit_level_assignment(scans, start, max_evaluations=160)

    assert (fitted.skull_distance_mm, fitted.skull_log_sd) != (start.skull_distance_mm, start.skull_log_sd)
    assert negative_log_likelihood(scans, fitted) < negative_log_likelihood(scans, start)


def test_the_weight_of_a_second_network_that_is_right_rises() -> None:
    scans = []
    for scan in draw_scans(18, seed=4):
        parts, truth = scan.detections, [LEVELS.index(level or "") for level in scan.levels]
        right = np.full((len(parts), N_CLASSES), 0.05)
        right[np.arange(len(parts)), CLASSES[truth]] = 0.5
        scans.append(LabeledScan(replace(parts, crop_probabilities=right), scan.levels))

    fitted = fit_level_assignment(scans, max_evaluations=30)

    assert fitted.crop_weight > 1.2 * LevelAssignmentSettings().crop_weight


def test_a_false_detection_with_a_name_is_wrong() -> None:
    reliability = level_reliability(draw_scans(6, seed=1, false_below=True))

    assert len(reliability.names) == len(reliability.confidence) == 24
    assert not reliability.is_right.reshape(6, 4)[:, 3].any()
    predicted, _, counts = reliability.diagram
    assert counts.sum() == 24
    assert np.nanmax(predicted) <= 1.0


def test_scans_without_vertebrae_or_of_other_levels_are_refused() -> None:
    (scan,) = draw_scans(1, seed=1)

    with pytest.raises(InputError, match="no scan holds a vertebra"):
        fit_level_assignment([LabeledScan(scan.detections, (None,) * 4)])
    with pytest.raises(InputError, match="4 detections"):
        LabeledScan(scan.detections, ("C1", "C2", "C3"))
    with pytest.raises(InputError, match="C1 to S1"):
        LabeledScan(scan.detections, ("C1", "C2", "C3", "X9"))
