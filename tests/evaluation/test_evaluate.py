"""Evaluation of models, against known values and scikit-learn."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from tests.support.predictions import OPERATING_POINTS, make_reference

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import InputError, LabelError
from cspine.evaluation.cases import LEVELS, match_predictions
from cspine.evaluation.evaluate import (
    GLOBAL_OPTIMAL,
    PLAIN,
    STUDY_OPTIMAL,
    EvaluationProtocol,
    EvaluationResult,
    EvaluationSettings,
    evaluate,
)
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import wilson_interval
from cspine.metrics.reliability import predictive_values
from cspine.metrics.rsna2022 import challenge_loss, constant_baselines, metric_optimal, study_optimal
from cspine.reports.evaluation.evaluation_sections import evaluation_sections
from cspine.reports.evaluation.markdown import evaluation_markdown

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

FAST = EvaluationSettings(n_resamples=100)


@pytest.fixture(scope="module")
def result(tables: Tables) -> EvaluationResult:
    """A strong and a random model, evaluated on 300 studies."""
    labels, strong = tables(300, skill=2.0)
    _, weak = tables(300, seed=1, skill=0.0)
    settings = EvaluationSettings(OPERATING_POINTS, constant_baselines(labels.mean()), n_resamples=300)
    return evaluate(make_reference(labels), [Predictions("strong", strong), Predictions("weak", weak)], settings)


def test_target_metrics_agree_with_scikit_learn(result: EvaluationResult, tables: Tables) -> None:
    labels, probability = tables(300, skill=2.0)
    model = result.models[0]

    assert [metrics.target for metrics in model.targets] == [*TARGETS, LEVELS]
    for target in TARGETS:
        metrics, truth, score = model.target(target), labels[target], probability[target]
        assert metrics.auc.value == pytest.approx(roc_auc_score(truth, score))
        assert metrics.average_precision.value == pytest.approx(average_precision_score(truth, score))
        assert metrics.brier_score.value == pytest.approx(brier_score_loss(truth, score))
        for interval in (metrics.auc, metrics.average_precision, metrics.brier_score):
            assert interval.low < interval.value <= interval.high
    levels = model.target(LEVELS)
    flat = labels[list(VERTEBRAE)].to_numpy().ravel(), probability[list(VERTEBRAE)].to_numpy().ravel()
    assert levels.auc.value == pytest.approx(roc_auc_score(*flat))
    assert levels.n_cases == 2100
    assert model.target("C3").n_positives == 11
    assert not model.target(OVERALL).is_small_sample


def test_operating_point_metrics_by_hand(result: EvaluationResult, tables: Tables) -> None:
    labels, probability = tables(300, skill=2.0)

    rule_out, triage = result.models[0].target(OVERALL).operating_points

    assert (rule_out.name, rule_out.threshold, triage.threshold) == ("rule-out", 0.2, 0.5)
    y, called = labels[OVERALL] > 0, probability[OVERALL] >= 0.5
    assert (triage.tp, triage.fn) == ((y & called).sum(), (y & ~called).sum())
    assert (triage.tn, triage.fp) == ((~y & ~called).sum(), (~y & called).sum())
    assert triage.ppv.value == pytest.approx((y & called).sum() / called.sum())
    assert triage.npv.value == pytest.approx((~y & ~called).sum() / (~called).sum())
    rare = triage.at_prevalence[0]
    tp, fp = 0.04 * triage.sensitivity.value, 0.96 * (1 - triage.specificity.value)
    assert rare.prevalence == 0.04
    assert rare.ppv.value == pytest.approx(tp / (tp + fp))
    assert rare.ppv.low < rare.ppv.value < rare.ppv.high
    expected = predictive_values(triage.sensitivity.value, triage.specificity.value, 0.04)
    assert (rare.ppv.value, rare.npv.value) == pytest.approx(expected)
    level = result.models[0].target("C2").operating_points[1]
    assert level.threshold == 0.4
    assert not level.at_prevalence


def test_losses_are_the_challenges_and_paired_with_the_first(result: EvaluationResult, tables: Tables) -> None:
    labels, strong = tables(300, skill=2.0)
    plain = strong.to_numpy()
    transforms = {PLAIN: plain, GLOBAL_OPTIMAL: metric_optimal(plain), STUDY_OPTIMAL: study_optimal(plain)}
    losses = {loss.name: loss for loss in result.losses}

    for transform, values in transforms.items():
        loss = losses[f"strong: {transform}"]
        per_study, overall = loss.normalized_per_study, loss.normalized_globally
        assert per_study.value == pytest.approx(challenge_loss(labels, values))
        assert overall.value == pytest.approx(challenge_loss(labels, values, normalise="global"))
        assert per_study.low < per_study.value < per_study.high
    half = losses["constant: all 0.5"]
    values_of_half = (half.normalized_per_study.low, half.normalized_per_study.value, half.normalized_globally.high)
    assert values_of_half == pytest.approx((np.log(2),) * 3)
    assert half.per_study_difference.low == pytest.approx(np.log(2) - result.losses[0].normalized_per_study.high)
    assert losses[f"weak: {PLAIN}"].per_study_difference.low > 0.0


def test_models_are_compared_on_the_same_cases(result: EvaluationResult) -> None:
    patient, levels = result.comparisons

    assert (patient.model, patient.other, patient.target, levels.target) == ("strong", "weak", OVERALL, LEVELS)
    expected = result.models[0].target(LEVELS).auc.value - result.models[1].target(LEVELS).auc.value
    assert levels.difference.interval.value == pytest.approx(expected)
    assert levels.difference.interval.low > 0.0
    assert levels.difference.p_value < 1e-6


def test_missing_predictions_of_one_model_count_for_that_model_alone(tables: Tables) -> None:
    labels, probability = tables(40)
    incomplete = probability.copy()
    incomplete.loc["1.3", "C7"] = np.nan
    rejected = {"1.0": "too-thick", "1.1": "no-spine"}
    models = [
        Predictions("all", probability),
        Predictions("some", incomplete.drop(index=list(rejected)), rejected),
    ]

    result = evaluate(make_reference(labels), models, FAST)

    assert result.n_studies == 40
    assert [model.n_not_assessable for model in result.models] == [0, 2]
    assert [model.n_unscored_vertebrae for model in result.models] == [0, 1]
    assert result.models[1].n_not_assessable_fractured == labels.loc[list(rejected), OVERALL].sum()
    for model, n_vertebrae in zip(result.models, (0, 2 * 7 + 1), strict=True):
        levels = model.target(LEVELS)
        assert levels.n_cases == 40 * 7
        assert levels.n_unanswered_fractured + levels.n_unanswered_intact == n_vertebrae
    alone = evaluate(make_reference(labels), [Predictions("all", probability)], FAST)
    assert alone.losses[0] == result.losses[0]
    assert alone.models[0].target("C6") == result.models[0].target("C6")


def test_predictions_that_do_not_match_raise(tables: Tables) -> None:
    labels, probability = tables(40)
    reference = make_reference(labels)

    with pytest.raises(LabelError, match=r"some: 5 of 40 studies have no prediction \(first: 1\.0, 1\.1, 1\.2\)"):
        evaluate(reference, [Predictions("some", probability.iloc[5:])])
    with pytest.raises(LabelError, match="give one at least, each its own name"):
        evaluate(reference, [Predictions("a", probability), Predictions("a", probability)])
    not_assessable = dict.fromkeys(labels.index, "too-thick")
    with pytest.raises(LabelError, match="a: assessed no study of 40; there is nothing to evaluate"):
        evaluate(reference, [Predictions("a", probability.iloc[:0], not_assessable)])
    with pytest.raises(InputError, match="not eight constants"):
        evaluate(reference, [Predictions("a", probability)], replace(FAST, baselines={"half": [0.5] * 7}))
    unknown = pd.concat([probability, probability.iloc[:1].rename(index={"1.0": "9.9"})])
    assert evaluate(reference, [Predictions("a", unknown)], FAST).models[0].n_unmatched_predictions == 1


def test_studies_of_one_patient_are_resampled_together(tables: Tables) -> None:
    labels, probability = tables(60)
    twice = pd.concat([labels, labels.set_axis([f"2.{n}" for n in range(60)])])
    both = pd.concat([probability, probability.set_axis(twice.index[60:])])
    patients = pd.Series([*labels.index, *labels.index], index=twice.index)
    settings = EvaluationSettings(n_resamples=300)

    single = evaluate(make_reference(labels), [Predictions("a", probability)], settings)
    double = evaluate(replace(make_reference(twice), patients=patients), [Predictions("a", both)], settings)

    assert (double.n_studies, double.n_patients) == (120, 60)
    for target in (OVERALL, LEVELS):
        one, two = single.models[0].target(target), double.models[0].target(target)
        assert two.auc.value == pytest.approx(one.auc.value)
        assert two.auc.high - two.auc.low == pytest.approx(one.auc.high - one.auc.low, rel=0.02)
        assert two.brier_score.low == pytest.approx(one.brier_score.low)


def test_one_class_is_null_in_json_and_a_dash_in_the_report(tables: Tables) -> None:
    labels, probability = tables()
    result = evaluate(make_reference(labels.assign(C3=0)), [Predictions("a | b", probability)], FAST)

    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    text = evaluation_markdown(result, title="a | b")

    assert value["models"][0]["targets"][3]["auc"]["value"] is None
    assert value["models"][0]["targets"][3]["calibration_line"] is None
    assert "| C3 \\* | 0 of 120 | - | - |" in text
    assert "# a \\| b" in text
    assert "hantom" not in text
    bars = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| C3 \\* |")}
    assert bars == {5}  # of a table with four columns, whatever the name of the model


def test_report_has_disclaimers_and_all_sections(result: EvaluationResult) -> None:
    text = evaluation_markdown(replace(result, is_phantom=True), title="t")

    assert "not clinical accuracy" in text
    assert "Research use only" in text
    assert "Chosen on: others." in text
    titles = [section.title for section in evaluation_sections(result)]
    assert titles[:4] == ["Studies", "Discrimination", "Calibration", "Operating points"]
    for section in evaluation_sections(result):
        if section.table:
            assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_matching_keeps_the_order_of_the_reference_standard(tables: Tables) -> None:
    labels, probability = tables(10)

    matched = match_predictions(make_reference(labels), [Predictions("a", probability.iloc[::-1])])

    np.testing.assert_array_equal(matched.probability["a"], probability.to_numpy())


def test_evaluation_of_2019_studies_takes_seconds(challenge: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    probability = (0.3 * challenge + 0.5 * rng.random(challenge.shape)).astype(float)

    start = time.process_time()
    result = evaluate(make_reference(challenge), [Predictions("a", probability)])

    assert result.n_resamples == 2000
    assert time.process_time() - start < 60  # about 8 s on one core


def test_sensitivity_of_one_has_an_interval() -> None:
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(6)], columns=list(TARGETS))
    labels.loc[["1.0", "1.1"], [OVERALL, "C1", "C2"]] = 1
    settings = EvaluationSettings(OPERATING_POINTS, n_resamples=100)

    result = evaluate(make_reference(labels), [Predictions("a", labels * 0.9)], settings)

    sensitivity = result.models[0].target(LEVELS).operating_points[1].sensitivity
    assert (sensitivity.value, sensitivity.high) == (1.0, 1.0)
    assert sensitivity.low == pytest.approx(wilson_interval(2, 2).low)  # four vertebrae, of two patients


def test_circumstances_are_reported(tables: Tables) -> None:
    labels, probability = tables(40)
    reference = make_reference(labels)
    points = OPERATING_POINTS.model_copy(update={"studies_sha256": reference.studies_sha256})
    protocol = EvaluationProtocol("holdout", "f" * 64, 2, 3)
    settings = EvaluationSettings(points, n_resamples=100, protocol=protocol)

    result = evaluate(reference, [Predictions("a", probability, phantom_only=True)], settings)

    text = evaluation_markdown(result, title="t")
    assert "3 of these studies are of patients that the model was trained on: the results are optimistic" in text
    assert "Part 'holdout' of the split ffffffffffffffff." in text
    assert "Earlier evaluations on this part: 2; each is recorded beside the split." in text
    assert "These are the studies of this evaluation: the results are optimistic." in text
    assert "a was trained on phantoms only." in text
    assert result.to_json()["protocol"]["part"] == "holdout"
