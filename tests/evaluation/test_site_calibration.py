"""A site's points and shifts: those that made-up scans were made with, intervals that hold, and too few scans."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.predictions import WEIGHTS, make_findings, make_rejected_findings
from tests.support.site import BASE, make_scans, site_table

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.findings import Findings
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.site_calibration import SiteCalibration, calibrate_site
from cspine.evaluation.site_scans import site_scans

N_RESAMPLES = 200


def calibrate_intact(n_patients: int, *, shift_logit: float = 0.0, seed: int = 0) -> SiteCalibration:
    scans = make_scans(site_table(n_patients, shift_logit=shift_logit, seed=seed))
    return calibrate_site(scans, is_intact=True, n_resamples=N_RESAMPLES)


def test_nine_in_ten_intact_patients_and_vertebrae_lie_below_the_point() -> None:
    result = calibrate_intact(60, shift_logit=3.0)

    patient, levels = result.targets
    assert (patient.target, levels.target) == (OVERALL, LEVELS)
    assert patient.before.specificity.value < 0.5
    for each in result.targets:
        assert 0.9 <= each.after.specificity.value < 0.95
        assert each.after.specificity.low < each.after.specificity.value < each.after.specificity.high
        assert each.after.alarms.value == pytest.approx(1 - each.after.specificity.value)
    assert result.prevalence == BASE.prevalence


def test_what_a_site_adds_to_all_log_odds_is_taken_off() -> None:
    plain, shifted = calibrate_intact(80), calibrate_intact(80, shift_logit=1.5)

    for one, other in zip(plain.targets, shifted.targets, strict=True):
        assert other.shift_logit.value == pytest.approx(one.shift_logit.value - 1.5)
        assert other.after.threshold.value == pytest.approx(one.after.threshold.value)


def test_prevalence_moves_probabilities_but_no_decision() -> None:
    scans = make_scans(site_table(50))

    kept, low = (calibrate_site(scans, prevalence=p, is_intact=True, n_resamples=N_RESAMPLES) for p in (None, 0.05))

    shift = np.log(0.05 / 0.95)  # from one half
    assert low.targets[0].shift_logit.value - kept.targets[0].shift_logit.value == pytest.approx(shift)
    assert low.targets[0].after.specificity == kept.targets[0].after.specificity
    assert low.points.recalibration is not None
    assert low.points.recalibration.prevalence == 0.05


def test_specificity_on_other_scans_lies_in_the_interval() -> None:
    others, hits = site_table(4000, seed=99), 0
    for seed in range(20):
        result = calibrate_site(make_scans(site_table(40, seed=seed)), is_intact=True, n_resamples=2)
        assert result.points.recalibration is not None
        probability = result.points.recalibration.apply(others[list(VERTEBRAE)], others[OVERALL])[1]
        patient = result.targets[0].after
        specificity = np.mean(probability < patient.threshold.value)
        hits += bool(patient.specificity.low <= specificity <= patient.specificity.high)

    assert hits >= 16  # 19 are expected; 15 or fewer have a probability of 0.0003


def test_unlabelled_scans_of_known_prevalence_give_shift_and_point() -> None:
    n_patients, n_fractured = 600, 60
    scans = make_scans(site_table(n_patients, fractured=n_fractured, shift_logit=1.0))

    result = calibrate_site(scans, prevalence=0.1, is_intact=False, n_resamples=N_RESAMPLES)

    patient = result.targets[0]
    prior = np.log(0.1 / 0.9)  # the log-odds assumed one half
    assert patient.shift_logit.low < prior - 1.0 < patient.shift_logit.high
    assert result.points.recalibration is not None
    _, probability = result.points.recalibration.apply(scans.probability[list(VERTEBRAE)], scans.probability[OVERALL])
    assert probability.mean() == pytest.approx(0.1, abs=0.01)
    intact = probability[n_fractured:]
    assert np.mean(intact < patient.after.threshold.value) == pytest.approx(0.9, abs=0.04)
    assert result.specificity_bounds is not None
    least, greatest = result.specificity_bounds
    assert least <= np.mean(intact < patient.after.threshold.value) <= greatest
    assert result.estimated_prevalence is not None
    assert result.estimated_prevalence.low > 0.1  # the site's shift is taken for fractures


def test_prevalence_is_estimated_where_nothing_else_differs() -> None:
    scans = make_scans(site_table(600, fractured=60))

    estimate = calibrate_site(scans, prevalence=0.1, is_intact=False, n_resamples=N_RESAMPLES).estimated_prevalence

    assert estimate is not None
    assert estimate.low < 0.1 < estimate.high


def test_number_of_scans_needed_falls_with_the_width() -> None:
    result = calibrate_intact(100)

    patient, levels = (dict(each.scans_needed) for each in result.targets)
    assert 100 < patient[0.05] < 200
    assert patient[0.1] < patient[0.05] < patient[0.03] < patient[0.02]
    assert levels[0.05] < patient[0.05]  # seven vertebrae of a patient tell more than the patient


def test_scans_of_one_patient_count_as_one() -> None:
    table = site_table(60)
    patients = [f"p{number // 3}" for number in range(60)]

    single, repeated = (
        calibrate_site(make_scans(table, each), is_intact=True, n_resamples=N_RESAMPLES) for each in (None, patients)
    )

    assert (single.n_patients, repeated.n_patients, repeated.n_scans) == (60, 20, 60)
    with pytest.raises(LabelError, match="about 8 intact patients"):
        calibrate_site(make_scans(table[:24], patients[:24]), is_intact=True, n_resamples=N_RESAMPLES)


def test_too_few_scans_are_refused_with_the_number_that_it_takes() -> None:
    with pytest.raises(LabelError, match=r"site: holds about 9 intact .* give 10 at least, or 141 to know it"):
        calibrate_intact(9)
    few = make_scans(site_table(30, fractured=1))
    warnings = calibrate_site(few, prevalence=0.05, is_intact=False, n_resamples=N_RESAMPLES).warnings
    assert any("about 1.5 fractured patients" in warning for warning in warnings)


def findings_of(study: str, **updates: object) -> Findings:
    return make_findings(study, {OVERALL: 0.2, "C7": None}).model_copy(update={"calibration": BASE, **updates})


def test_findings_become_scans_and_what_cannot_be_used_together_is_refused() -> None:
    findings = [findings_of("1.1"), findings_of("1.2"), make_rejected_findings("1.3")]

    scans = site_scans("site", findings, {"1.1": "a", "1.2": "a"})

    assert (scans.n_patients, scans.n_not_assessable, scans.triage.patient) == (1, 1, 0.3)
    assert scans.probability["C7"].isna().all()
    other = WEIGHTS.model_copy(update={"sha256": "b" * 64})
    for change, message in (
        ({"weights": other}, "2 different weights"),
        ({"test_time_augmentation": True}, "2 different settings of test-time augmentation"),
        ({"calibration": BASE.model_copy(update={"prevalence": 0.1})}, "2 different calibrations"),
        ({"calibration": BASE.model_copy(update={"points_sha256": "c" * 64})}, "--operating-points weights"),
    ):
        with pytest.raises(LabelError, match=message):
            site_scans("site", [*findings, findings_of("1.4", **change)])
    with pytest.raises(LabelError, match="no triage point"):
        site_scans("site", [findings_of("1.1", calibration=None)])
    with pytest.raises(LabelError, match="repeat an earlier study"):
        site_scans("site", [*findings, findings[0]])
    with pytest.raises(LabelError, match="1 scans have no patient"):
        site_scans("site", findings, {"1.1": "a"})
    with pytest.raises(LabelError, match="none of 1 scans is assessable"):
        site_scans("site", findings[2:])


def test_scans_that_are_not_assessable_are_counted() -> None:
    scans = replace(make_scans(site_table(20)), n_not_assessable=2)

    result = calibrate_site(scans, is_intact=True, n_resamples=N_RESAMPLES)

    assert (result.n_not_assessable, result.warnings) == (2, ("2 scans are not assessable, and left out",))
