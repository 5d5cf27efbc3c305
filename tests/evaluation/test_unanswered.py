"""Cases that a model does not answer: counted by brute force, on examples whose right values are worked out by hand."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from tests.evaluation.test_localization import C2AtOrigin, make_labels, make_marks
from tests.support.predictions import OPERATING_POINTS, make_findings, make_reference, make_rejected_findings

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.findings import Findings
from cspine.datasets.phantom_records import FRACTURE_COLUMNS
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import PLAIN, EvaluationResult, EvaluationSettings, ModelResult, evaluate
from cspine.evaluation.failures import worst_failures
from cspine.evaluation.predictions import Predictions, read_predictions
from cspine.metrics.rsna2022 import challenge_loss
from cspine.pipelines.evaluate import EvaluateSettings, evaluate_predictions
from cspine.reports.evaluation.markdown import evaluation_markdown
from cspine.reports.evaluation.page import evaluation_page

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

SETTINGS = EvaluationSettings(OPERATING_POINTS, n_resamples=100)
TRIAGE_PATIENT, TRIAGE_LEVEL = 0.5, 0.4


def fractures_of_c5(n_fractured: int, n_intact: int) -> pd.DataFrame:
    """Return labels of studies; in the first ones C5 is fractured."""
    index = [f"1.{n}" for n in range(n_fractured + n_intact)]
    labels = pd.DataFrame(0, index=index, columns=list(TARGETS))
    labels.iloc[:n_fractured, [0, TARGETS.index("C5")]] = 1
    return labels


def triage(model: ModelResult, target: str) -> dict[str, float]:
    point = model.target(target).operating_points[-1]
    return {
        "sensitivity": point.sensitivity.value,
        "specificity": point.specificity.value,
        "ppv": point.ppv.value,
        "npv": point.npv.value,
    }


@pytest.fixture
def three_unanswered() -> EvaluationResult:
    """43 fractured vertebrae: 38 detected, 2 missed, 3 absent by the model; 57 intact C5, of which 7 are absent."""
    labels = fractures_of_c5(43, 57)
    probability = labels * 0.0 + 0.1
    probability.loc[[f"1.{n}" for n in range(38)], [OVERALL, "C5"]] = 0.9
    probability.loc[["1.40", "1.41", "1.42", *(f"1.{n}" for n in range(93, 100))], "C5"] = np.nan
    return evaluate(make_reference(labels), [Predictions("a", probability)], SETTINGS)


def test_fractures_without_an_answer_stay_in_the_denominator(three_unanswered: EvaluationResult) -> None:
    model = three_unanswered.models[0]

    # 38 of 43, not 38 of 40: 0.88, not 0.95.
    point = model.target("C5").operating_points[-1]
    assert point.sensitivity.value == 38 / 43
    assert round(point.sensitivity.value, 2) == 0.88
    assert (point.tp, point.fn, point.tn, point.fp) == (38, 5, 50, 0)
    assert (point.n_unanswered_fractured, point.n_unanswered_intact) == (3, 7)
    assert point.npv.value == 50 / 55
    assert point.ppv.value == 1.0
    assert point.specificity.value == 1.0  # of the 50 that are answered: the other 7 are no true negatives
    levels = model.target(LEVELS).operating_points[-1]
    assert (levels.tp, levels.fn, levels.tn, levels.fp) == (38, 5, 600 + 50, 0)
    assert (model.target(LEVELS).n_cases, model.target(LEVELS).n_positives) == (700, 43)


def test_ranking_counts_fractures_without_an_answer_lowest_and_tells_the_other_number(
    three_unanswered: EvaluationResult,
) -> None:
    target = three_unanswered.models[0].target("C5")

    # Of 43 fractures 38 rank above all intact ones, 2 tie with them, 3 rank below.
    assert target.auc.value == pytest.approx((38 + 2 / 2) / 43)
    assert target.answered_auc.value == pytest.approx((38 + 2 / 2) / 40)
    assert target.average_precision.value == pytest.approx(38 / 43 + 2 / 43 * 40 / 90 + 3 / 43 * 43 / 93)
    assert target.answered_average_precision.value == pytest.approx(38 / 40 + 2 / 40 * 40 / 90)
    assert target.auc.low < target.auc.value < target.auc.high
    complete = three_unanswered.models[0].target(OVERALL)
    assert complete.auc == complete.answered_auc


def test_every_report_says_how_many_were_not_answered(three_unanswered: EvaluationResult) -> None:
    sentence = "3 fractured vertebrae were not answered; they count as missed (C5 of 1.40, C5 of 1.41, C5 of 1.42)."
    intact = "7 intact vertebrae were not answered: they are neither true negative nor false positive"

    markdown = evaluation_markdown(three_unanswered, title="t")
    page = evaluation_page(three_unanswered, title="t", figures={})
    value = json.loads(json.dumps(three_unanswered.to_json(), allow_nan=False))

    for text in (markdown, page, *["\n".join(value["models"][0]["notes"])]):
        assert sentence in text
        assert intact in text
    assert value["models"][0]["unanswered"]["fractured"] == [["1.40", "C5"], ["1.41", "C5"], ["1.42", "C5"]]
    assert "| C5, triage | 0.4 | 0.884 " in markdown
    assert "3 fractured, 7 intact" in markdown
    assert "## Discrimination of the answered cases" in markdown
    assert "| C5 | 3 of 43 | 0.907 " in markdown


def test_studies_that_are_not_assessable_count_for_patients_and_vertebrae() -> None:
    labels = fractures_of_c5(10, 10)
    probability = (labels * 0.8 + 0.1).drop(index=["1.0", "1.1", "1.10"])
    rejected = dict.fromkeys(["1.0", "1.1", "1.10"], "too-thick")

    result = evaluate(make_reference(labels), [Predictions("a", probability, rejected)], SETTINGS)

    model = result.models[0]
    assert (result.n_studies, model.n_not_assessable, model.n_not_assessable_fractured) == (20, 3, 2)
    for target in (OVERALL, "C5"):
        point = model.target(target).operating_points[-1]
        assert (point.tp, point.fn, point.tn, point.fp) == (8, 2, 9, 0)
        assert (point.sensitivity.value, point.specificity.value, point.npv.value) == (0.8, 1.0, 9 / 11)
    sensitivity, prevalence = 0.8, 0.04
    at_4_percent = model.target(OVERALL).operating_points[-1].at_prevalence[0]
    expected = (1 - prevalence) / ((1 - prevalence) + (1 - sensitivity) * prevalence)
    assert at_4_percent.npv.value == pytest.approx(expected)
    text = "\n".join(model.notes)
    assert "3 studies were rated not assessable, 2 of them with a fracture (1.0, 1.1, 1.10)." in text
    assert "2 fractured patients were not answered; they count as missed (1.0, 1.1)." in text
    assert "1 intact patient was not answered: it is neither true negative nor false positive" in text
    assert "2 fractured vertebrae were not answered; they count as missed" in text
    assert "19 intact vertebrae were not answered" in text
    # Net benefit at threshold 0.5: eight true positives of twenty patients; those not answered are not treated.
    curve = model.decision_curve
    assert curve.model[curve.thresholds == 0.5] == pytest.approx(8 / 20)
    assert curve.treat_all[curve.thresholds == 0.5] == pytest.approx(0.0)


def test_all_counts_agree_with_brute_force(tables: Tables) -> None:
    labels, probability = tables(60, seed=3)
    rng = np.random.default_rng(4)
    probability = probability.mask(np.column_stack([np.zeros(60, bool), rng.random((60, 7)) < 0.2]))
    rejected = dict.fromkeys(["1.3", "1.5", "1.8", "1.30"], "no-spine")

    model = evaluate(
        make_reference(labels), [Predictions("a", probability.drop(index=list(rejected)), rejected)], SETTINGS
    ).models[0]

    answer = {
        (study, target): None if study in rejected or np.isnan(value) else float(value)
        for study, row in probability.iterrows()
        for target, value in row.items()
    }
    for name, targets, threshold in (
        (OVERALL, (OVERALL,), TRIAGE_PATIENT), ("C7", ("C7",), TRIAGE_LEVEL), (LEVELS, VERTEBRAE, TRIAGE_LEVEL),
    ):  # fmt: skip
        fractured = [answer[s, t] for s, t in product(labels.index, targets) if labels.loc[s, t]]
        intact = [answer[s, t] for s, t in product(labels.index, targets) if not labels.loc[s, t]]
        detected = sum(value is not None and value >= threshold for value in fractured)
        alarms = sum(value is not None and value >= threshold for value in intact)
        quiet = sum(value is not None and value < threshold for value in intact)
        assert None in fractured
        assert None in intact
        assert triage(model, name) == pytest.approx(
            {
                "sensitivity": detected / len(fractured),
                "specificity": quiet / (quiet + alarms),
                "ppv": detected / (detected + alarms),
                "npv": quiet / (quiet + len(fractured) - detected),
            }
        )
        known = [value for value in intact if value is not None]
        wins = [1.0 if f > i else 0.5 if f == i else 0.0 for f in fractured if f is not None for i in known]
        assert model.target(name).auc.value == pytest.approx(sum(wins) / (len(fractured) * len(known)))
        scores = [-1.0 if value is None else value for value in fractured] + known
        truth = [1] * len(fractured) + [0] * len(known)
        assert model.target(name).average_precision.value == pytest.approx(average_precision_score(truth, scores))
        answered = [(value, 1.0) for value in fractured if value is not None] + [(value, 0.0) for value in known]
        assert model.target(name).brier_score.value == pytest.approx(np.mean([(p - y) ** 2 for p, y in answered]))
    singles = labels.index[labels[list(VERTEBRAE)].sum(axis=1) == 1]
    assert model.level_confusion.sum() + model.n_unanswered_single_fractures.sum() == len(singles)
    n_unanswered = sum(answer[s, str(labels.loc[s, list(VERTEBRAE)].idxmax())] is None for s in singles)
    assert model.n_unanswered_single_fractures.sum() == n_unanswered > 0


def test_one_model_does_not_change_the_numbers_of_another(tables: Tables) -> None:
    labels, probability = tables(60)
    gaps = probability.mask(labels[["C7"]].reindex(columns=probability.columns, fill_value=0) > 0)
    rejected = dict.fromkeys(["1.0", "1.1", "1.2"], "no-spine")
    first, other = Predictions("a", probability), Predictions("b", gaps.drop(index=list(rejected)), rejected)

    alone = evaluate(make_reference(labels), [first], SETTINGS)
    both = evaluate(make_reference(labels), [first, other], SETTINGS)

    for target in (OVERALL, "C2", "C7", LEVELS):
        assert both.models[0].target(target) == alone.models[0].target(target)
    assert both.models[0].notes == ()


def test_models_are_compared_on_all_fractures_and_the_intact_cases_that_both_answer() -> None:
    labels = fractures_of_c5(10, 10)
    rng = np.random.default_rng(0)
    careful = labels * 0.3 + rng.random(labels.shape) * 0.5
    # The other model is the same, but refuses the fractures that it would rank lowest, and two intact studies.
    refused = [*careful[OVERALL].iloc[:10].nsmallest(4).index, "1.10", "1.11"]
    other = Predictions("b", careful.drop(index=refused), dict.fromkeys(refused, "no-spine"))

    comparison = evaluate(make_reference(labels), [Predictions("a", careful), other], SETTINGS).comparisons[0]

    intact = careful[OVERALL].iloc[12:]
    one = np.mean([f > i for f in careful[OVERALL].iloc[:10] for i in intact])
    two = np.mean([study not in refused and f > i for study, f in careful[OVERALL].iloc[:10].items() for i in intact])
    assert (comparison.n_fractured, comparison.n_intact, comparison.n_intact_left_out) == (10, 8, 2)
    assert comparison.difference.interval.value == pytest.approx(one - two)
    assert comparison.difference.interval.value > 0  # on the common cases alone, both would be equal


def test_froc_counts_lesions_and_studies_without_an_answer() -> None:
    labels = make_labels(10, fractured=["1.0", "1.1", "1.2", "1.3"])
    labels.loc["1.3", "C6"] = 1  # fractured by its label, at an unknown place
    probability = labels * 0.0 + 0.05
    probability.loc[["1.0", "1.1"], "C2"] = [0.9, 0.8]
    probability.loc["1.2", "C2"] = np.nan
    rejected = dict.fromkeys(["1.3", "1.9"], "no-spine")
    marks = make_marks(("1.0", "C2", 0.9, 0.0), ("1.1", "C2", 0.8, 0.0), ("1.4", "C5", 0.85, 0.0))

    result = evaluate(
        make_reference(labels, lesions=C2AtOrigin(labels)),
        [Predictions("a", probability.drop(index=list(rejected)), rejected, marks)],
        SETTINGS,
    )

    localization = result.models[0].localization
    assert localization is not None
    assert (localization.n_studies, localization.n_fractured) == (10, 4)
    assert (localization.n_unanswered, localization.n_unlocated) == (2, 1)
    assert localization.froc.sensitivity.tolist() == [0.25, 0.25, 0.5]
    assert localization.froc.false_positives_per_study.tolist() == [0.0, 0.1, 0.1]
    assert localization.operating_points[-1].sensitivity.value == 0.5
    text = evaluation_markdown(result, title="t")
    assert "2 of these vertebrae were not answered; they count as missed." in text
    assert "The location of 1 further fractured vertebrae is not known; they are left out." in text


def test_subgroups_count_fractures_that_were_not_found() -> None:
    labels = fractures_of_c5(4, 6)
    visibility = {"1.0": "clear", "1.1": "clear", "1.2": "occult", "1.3": "occult"}
    grades = pd.DataFrame(
        [(study, "C5", "body", grade, 0.0) for study, grade in visibility.items()], columns=list(FRACTURE_COLUMNS)
    )
    kernels = pd.DataFrame({"kernel": ["soft"] * 8 + [None] * 2}, index=labels.index)
    probability = labels * 0.8 + 0.1
    probability.loc[["1.1", "1.9"], "C5"] = np.nan

    reference = make_reference(labels, fractures=grades, subgroups=kernels)
    rows = {
        (row.unit, row.group, row.value): row
        for row in evaluate(reference, [Predictions("a", probability)], SETTINGS).models[0].subgroups
    }

    clear = rows["vertebrae", "visibility", "clear"]
    assert (clear.sensitivity.value, clear.n_positives, clear.n_unanswered_fractured) == (0.5, 2, 1)
    assert rows["vertebrae", "visibility", "occult"].sensitivity.value == 1.0
    assert rows["vertebrae", "level", "C5"].sensitivity.value == 0.75
    assert rows["vertebrae", "level", "C5"].n_unanswered_intact == 1
    assert rows["vertebrae", "kernel", "soft"].n_cases + rows["vertebrae", "kernel", "not known"].n_cases == 70


def test_challenge_loss_counts_a_target_without_an_answer_as_uninformed() -> None:
    labels = fractures_of_c5(2, 2)
    probability = labels * 0.8 + 0.1
    probability.loc["1.0", "C5"] = np.nan
    rejected = {"1.3": "no-spine"}
    model = Predictions("a", probability.drop(index=["1.3"]), rejected)

    result = evaluate(make_reference(labels), [model], EvaluationSettings(baselines={"all 0.5": [0.5] * 8}))

    filled = probability.copy()
    filled.loc["1.0", "C5"] = filled.loc["1.3"] = 0.5
    losses = {loss.name: loss.normalized_per_study.value for loss in result.losses}
    assert losses[f"a: {PLAIN}"] == pytest.approx(challenge_loss(labels, filled))
    assert losses["constant: all 0.5"] == pytest.approx(np.log(2))


def test_accuracy_and_failures_with_cases_without_an_answer() -> None:
    labels = fractures_of_c5(2, 2)
    probability = labels * 0.8 + 0.1
    probability.loc[["1.0", "1.3"], "C5"] = np.nan

    result = evaluate(make_reference(labels), [Predictions("a", probability)], SETTINGS)

    # Of 32 labels one intact is not answered, and one fractured is not: 30 of 31 are correct.
    assert result.models[0].accuracy == pytest.approx(30 / 31)
    assert result.models[0].all_negative_accuracy == pytest.approx(27 / 31)
    failures = worst_failures(result.reference, result.cases["a"])
    assert not any(np.isnan(failure.probability) for failure in failures)


def test_labels_and_predictions_that_cannot_be_counted_raise() -> None:
    labels = fractures_of_c5(2, 2)
    probability = labels * 0.8 + 0.1

    incomplete = labels.astype(float)
    incomplete.loc["1.2", "C3"] = np.nan
    with pytest.raises(LabelError, match=r"1 of 4 studies lack a label \(first: 1\.2\)"):
        evaluate(make_reference(incomplete), [Predictions("a", probability)])
    twice = pd.concat([probability, probability.iloc[:1]])
    with pytest.raises(LabelError, match=r"a: 1 of 5 studies are predicted twice \(first: 1\.0\)"):
        evaluate(make_reference(labels), [Predictions("a", twice)])
    more = pd.concat([probability, probability.iloc[:1].rename(index={"1.0": "9.9"})])
    model = evaluate(make_reference(labels), [Predictions("a", more, {"9.8": "no-spine"})], SETTINGS).models[0]
    assert model.n_unmatched_predictions == 2
    assert model.notes == ("2 predicted studies are not in the evaluated reference standard, and ignored (9.9, 9.8).",)


def write_results(folder: Path, *results: Findings) -> Path:
    for each in results:
        write_text(folder / each.study_instance_uid / "findings.json", each.model_dump_json())
    return folder


def test_findings_with_absent_and_not_found_vertebrae_are_evaluated(tmp_path: Path) -> None:
    labels = fractures_of_c5(5, 5)
    labels.rename_axis("StudyInstanceUID").to_csv(tmp_path / "train.csv")
    detected = [make_findings(f"1.{n}", {OVERALL: 0.9, "C5": 0.9}) for n in range(3)]
    absent = make_findings("1.3", {OVERALL: 0.1, "C5": None})
    # A system may give a number for a vertebra that it did not find: that is no answer.
    lost = make_findings("1.4", {OVERALL: 0.1, "C5": 0.05})
    lost = lost.model_copy(
        update={"vertebrae": tuple(v.model_copy(update={"not_found": v.level == "C5"}) for v in lost.vertebrae)}
    )
    intact = [make_findings(f"1.{n}", {OVERALL: 0.1}) for n in range(5, 9)]
    folder = write_results(tmp_path / "out", *detected, absent, lost, *intact, make_rejected_findings("1.9"))

    report = evaluate_predictions(
        tmp_path / "train.csv", [folder], tmp_path / "report", EvaluateSettings(n_resamples=100)
    )

    model = report.result.models[0]
    point = model.target("C5").operating_points[0]
    assert (point.tp, point.fn, point.tn, point.fp, point.n_unanswered_intact) == (3, 2, 4, 0, 1)
    text = (tmp_path / "report" / "evaluation.md").read_text()
    assert "2 fractured vertebrae were not answered; they count as missed (C5 of 1.3, C5 of 1.4)." in text
    assert "1 of these vertebrae lie within the scanned extent and were not found there." in text
    assert "1 intact patient was not answered" in text
    assert read_predictions(folder).study_metadata.loc["1.4", "C5 coverage"] == "not found"
