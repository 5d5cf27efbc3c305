import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import cspine.evaluate as public
from cspine.anatomy import TARGETS
from cspine.errors import InputError, LabelError
from cspine.evaluate import metrics
from cspine.evaluate.evaluation import GLOBAL_OPTIMAL, PLAIN, STUDY_OPTIMAL, Evaluation, evaluate
from cspine.evaluate.kaggle import challenge_loss, constant_baselines, metric_optimal, study_optimal
from cspine.evaluate.report import evaluation_markdown

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def own_patients(truth: pd.DataFrame) -> "pd.Series[str]":
    return pd.Series(truth.index, index=truth.index)


@pytest.fixture(scope="module")
def judged(tables: Tables) -> Evaluation:
    truth, probability = tables(300)
    baselines = constant_baselines(truth.mean())
    return evaluate(truth, probability, own_patients(truth), baselines=baselines, draws=500)


def test_the_model_is_judged_in_each_form_beside_the_constants(judged: Evaluation, tables: Tables) -> None:
    truth, probability = tables(300)
    plain = probability.to_numpy()
    forms = (plain, metric_optimal(plain), study_optimal(plain))

    names = [row.name for row in judged.losses]

    constants = ["constant: all 0.5", "constant: prevalence", "constant: best constants"]
    assert names == [PLAIN, GLOBAL_OPTIMAL, STUDY_OPTIMAL, *constants]
    for row, form in zip(judged.losses, forms, strict=False):
        assert row.study.value == pytest.approx(challenge_loss(truth, form))
        assert row.overall.value == pytest.approx(challenge_loss(truth, form, normalise="global"))
        assert row.study.low < row.study.value < row.study.high
    half = judged.losses[3]
    assert (half.study.low, half.study.value, half.overall.high) == pytest.approx((np.log(2),) * 3)


def test_differences_are_paired_with_the_first_answer(judged: Evaluation) -> None:
    first, half, prevalence = judged.losses[0], judged.losses[3], judged.losses[4]

    assert (first.study_difference.low, first.overall_difference.high) == (0.0, 0.0)
    # All 0.5 has the same loss in every draw: the difference is the first answer's loss, mirrored.
    assert half.study_difference.low == pytest.approx(np.log(2) - first.study.high)
    assert half.study_difference.high == pytest.approx(np.log(2) - first.study.low)
    difference = prevalence.overall_difference
    assert difference.value == pytest.approx(prevalence.overall.value - first.overall.value)
    assert difference.low < difference.value < difference.high


def test_all_but_the_loss_is_computed_on_the_plain_probability(judged: Evaluation, tables: Tables) -> None:
    truth, probability = tables(300)

    for row in judged.targets:
        labels, values = truth[row.target], probability[row.target]
        assert row.positives == labels.sum()
        assert row.auc.low < row.auc.value <= row.auc.high
        assert row.brier == metrics.brier(labels, values)
        shares = metrics.sensitivity_specificity(labels, values, judged.threshold)
        assert (row.sensitivity.value, row.specificity.value) == shares
    assert [row.target for row in judged.targets] == list(TARGETS)
    assert judged.accuracy == metrics.label_accuracy(truth, probability, 0.5)
    assert judged.all_negative_accuracy == pytest.approx(1 - truth.to_numpy().mean())


def test_ready_answers_are_taken_as_they_are(tables: Tables) -> None:
    truth, probability = tables()

    result = evaluate(truth, {"model": probability, "half": probability * 0 + 0.5}, own_patients(truth), draws=100)

    assert [row.name for row in result.losses] == ["model", "half"]
    assert result.targets[0].brier == metrics.brier(truth["patient_overall"], probability["patient_overall"])


def test_a_target_with_one_class_is_null_in_json_and_a_dash_in_the_report(tables: Tables) -> None:
    truth, probability = tables()
    result = evaluate(truth.assign(C3=0), probability, own_patients(truth), draws=100)

    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    text = evaluation_markdown(result, phantom=False, weights="some weights")

    assert value["targets"][3]["auc"] == {"value": None, "low": None, "high": None, "unusable": 100}
    assert value["targets"][3]["sensitivity"]["value"] is None
    assert len(value["losses"]) == 3
    assert "| C3 | 0 of 120 | - | - |" in text
    assert "hantom" not in text


def test_the_report_says_what_the_numbers_are_not(judged: Evaluation) -> None:
    text = evaluation_markdown(judged, phantom=True, weights="some weights")

    assert "not clinical accuracy" in text
    assert "Research use only" in text
    assert "| constant: all 0.5 | 0.6931 (0.6931 to 0.6931) | +0." in text
    assert f"already gets {100 * judged.all_negative_accuracy:.1f} %" in text
    rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert rows == [6] * (2 + 6) + [7] * (2 + 8)


def test_the_report_tells_of_draws_that_were_left_out(tables: Tables) -> None:
    truth, probability = tables()
    rare = (np.arange(len(truth)) == 5).astype(int)  # one positive: about a third of the draws lack it

    result = evaluate(truth.assign(C3=rare), probability, own_patients(truth), draws=100)

    unusable = result.targets[3].auc.unusable
    assert 15 <= unusable <= 60
    text = evaluation_markdown(result, phantom=True, weights="w")
    assert "left out of the AUC's interval: " in text
    assert f"C3 {unusable}" in text


def test_tables_that_do_not_fit_are_refused(tables: Tables) -> None:
    truth, probability = tables()
    patients = own_patients(truth)
    twice = [*truth.index[:-1], truth.index[0]]

    with pytest.raises(LabelError, match="'model' and the labels are not of the same studies"):
        evaluate(truth, {"model": probability.iloc[::-1]}, patients)
    with pytest.raises(LabelError, match="'patients' and the labels are not of the same studies"):
        evaluate(truth, probability, patients.iloc[1:])
    with pytest.raises(LabelError, match="lacks the columns C3; give all eight"):
        evaluate(truth, probability.drop(columns="C3"), patients)
    with pytest.raises(LabelError, match="1 studies have no patient"):
        evaluate(truth, probability, patients.where(patients != "1.4"))
    with pytest.raises(LabelError, match="1 studies stand twice"):
        evaluate(truth.set_axis(twice), probability.set_axis(twice), patients.set_axis(twice))
    for empty in (truth.iloc[:0], truth):
        with pytest.raises(LabelError, match="no study has both"):
            evaluate(empty, probability.iloc[:0] if empty.empty else {}, patients[:0])


def test_numbers_that_do_not_fit_are_refused(tables: Tables) -> None:
    truth, probability = tables()
    patients = own_patients(truth)

    with pytest.raises(InputError, match="120 probabilities are not from 0 to 1, first in row 0, C7: nan"):
        evaluate(truth, probability.assign(C7=np.nan), patients)
    with pytest.raises(InputError, match="not eight constants"):
        evaluate(truth, probability, patients, baselines={"half": [0.5] * 7})
    with pytest.raises(InputError, match=r"the threshold 1\.5 is no probability"):
        evaluate(truth, probability, patients, threshold=1.5)


def test_the_challenges_size_takes_seconds(challenge: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    probability = (0.3 * challenge + 0.5 * rng.random(challenge.shape)).astype(float)

    start = time.process_time()
    result = evaluate(challenge, probability, own_patients(challenge))

    assert result.draws == 2000
    assert time.process_time() - start < 20  # about 1.5 s on one core


def test_public_names_load_when_used_and_only_then() -> None:
    assert all(getattr(public, name) is not None for name in public.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = public.nothing
    script = (
        "import sys; import cspine.evaluate.kaggle; "
        "print([name for name in ('sklearn', 'matplotlib', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
