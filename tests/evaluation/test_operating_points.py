"""The operating points that findings carry."""

from pathlib import Path

import pandas as pd
import pytest
from tests.support.predictions import OPERATING_POINTS, make_findings, make_reference, make_rejected_findings

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.files import write_text
from cspine.core.findings import CalibrationIdentity, Findings, Threshold
from cspine.evaluation.evaluate import EvaluationSettings, evaluate
from cspine.evaluation.operating_points import (
    DEFAULT_OPERATING_POINT,
    operating_points_of_findings,
)
from cspine.evaluation.predictions import Predictions, read_predictions
from cspine.models.operating_points import FixedOperatingPoint, Recalibration
from cspine.pipelines.evaluate import EvaluateSettings, evaluate_predictions
from cspine.reports.evaluation.markdown import evaluation_markdown


def carrying(findings: Findings, **thresholds: tuple[float, float]) -> Findings:
    """Return findings that carry operating points, name to thresholds of patient and level, and what reaches them."""
    points = tuple(
        Threshold(name=name.replace("_", "-"), target="any", patient=patient, level=level)
        for name, (patient, level) in thresholds.items()
    )
    calibration = CalibrationIdentity(fitted_on="others", prevalence=0.05, points=points)
    return reaching(findings, **thresholds).model_copy(update={"calibration": calibration})


def reaching(findings: Findings, **thresholds: tuple[float, float]) -> Findings:
    """Return findings that say which operating points they reach, and not where those lie."""

    def reached(probability: float | None, kind: int) -> tuple[str, ...]:
        named = ((name.replace("_", "-"), each[kind]) for name, each in thresholds.items())
        return tuple(name for name, threshold in named if probability is not None and probability >= threshold)

    assert findings.patient_overall is not None
    patient = findings.patient_overall
    return findings.model_copy(
        update={
            "patient_overall": patient.model_copy(update={"operating_points_reached": reached(patient.probability, 0)}),
            "vertebrae": tuple(
                each.model_copy(update={"operating_points_reached": reached(each.probability, 1)})
                for each in findings.vertebrae
            ),
        }
    )


def test_thresholds_that_findings_carry_are_used(tmp_path: Path) -> None:
    labels = pd.DataFrame(0, index=pd.Index([f"1.{n}" for n in range(8)], name="StudyInstanceUID"), columns=TARGETS)
    labels.loc[["1.0", "1.1", "1.2", "1.3"], [OVERALL, "C2"]] = 1
    labels.to_csv(tmp_path / "train.csv")
    for study, is_fractured in labels[OVERALL].items():
        probability = {OVERALL: 0.3, "C2": 0.25} if is_fractured else {OVERALL: 0.12, "C2": None}
        each = carrying(make_findings(str(study), probability), rule_out=(0.15, 0.05), triage=(0.3, 0.2))
        write_text(tmp_path / "out" / str(study) / "findings.json", each.model_dump_json())

    without = evaluate_predictions(tmp_path / "train.csv", [tmp_path / "out"], settings=EvaluateSettings(n_resamples=9))
    OPERATING_POINTS.write(tmp_path / "points.json")
    fixed = EvaluateSettings(n_resamples=9, operating_points=tmp_path / "points.json")
    given = evaluate_predictions(tmp_path / "train.csv", [tmp_path / "out"], settings=fixed)

    rule_out, triage = without.result.models[0].target(OVERALL).operating_points
    assert (rule_out.name, rule_out.threshold, triage.name, triage.threshold) == ("rule-out", 0.15, "triage", 0.3)
    assert (triage.tp, triage.fn, triage.tn, triage.fp) == (4, 0, 4, 0)  # at 0.5 all four would be missed
    assert without.result.models[0].target("C2").operating_points[1].threshold == 0.2
    assert without.result.operating_points.chosen_on == "others, as the findings say"
    assert given.result.models[0].target(OVERALL).operating_points[1].threshold == 0.5
    assert without.result.models[0].notes == (
        "4 intact vertebrae were not answered: they are neither true negative nor false positive; specificity is that "
        "of the answered ones.",
    )


def test_predictions_are_recalibrated_where_the_file_says_so(tmp_path: Path) -> None:
    labels = pd.DataFrame(0, index=pd.Index([f"1.{n}" for n in range(4)], name="StudyInstanceUID"), columns=TARGETS)
    labels.loc[["1.0", "1.1"], [OVERALL, "C2"]] = 1
    labels.to_csv(tmp_path / "train.csv")
    for study, is_fractured in labels[OVERALL].items():
        probability = 0.9 if is_fractured else 0.6
        each = make_findings(str(study), {OVERALL: probability, "C2": probability}, {"C2": (0.0, 0.0, 0.0)})
        write_text(tmp_path / "out" / str(study) / "findings.json", each.model_dump_json())
    recalibration = Recalibration(level_shift_logit=-1.0, patient_shift_logit=-1.0, prevalence=0.05)
    OPERATING_POINTS.model_copy(update={"recalibration": recalibration}).write(tmp_path / "site.json")
    settings = EvaluateSettings(n_resamples=9, operating_points=tmp_path / "site.json")

    result = evaluate_predictions(tmp_path / "train.csv", [tmp_path / "out"], settings=settings).result

    triage = result.models[0].target(OVERALL).operating_points[1]
    assert (triage.threshold, triage.tp, triage.fp) == (0.5, 2, 0)  # 0.6 would be above it, and 0.36 is not
    assert any("were recalibrated" in note for note in result.models[0].notes)
    predictions = read_predictions(tmp_path / "out").recalibrate(recalibration)
    assert predictions.marks is not None
    assert predictions.marks["strength"].to_numpy() == pytest.approx(predictions.probability["C2"].to_numpy())
    assert predictions.recalibrate(recalibration) is predictions


def test_findings_that_carry_different_thresholds_are_told(tmp_path: Path) -> None:
    old = carrying(make_findings("1.1", {}), triage=(0.3, 0.2))
    new = carrying(make_findings("1.2", {}), triage=(0.4, 0.2))
    new = new.model_copy(update={"weights": new.weights.model_copy(update={"sha256": "b" * 64})})
    for each in (old, new):
        write_text(tmp_path / each.study_instance_uid / "findings.json", each.model_dump_json())

    predictions = read_predictions(tmp_path)

    assert predictions.operating_points is None
    assert predictions.warnings == (
        "the findings are those of 2 different weights, evaluated as one model "
        "(w aaaaaaaaaaaa in 1, w bbbbbbbbbbbb in 1)",
    )
    disagreement = "the findings carry 2 different sets of operating points; none is used: give --operating-points"
    assert predictions.operating_points_warnings == (disagreement,)
    labels = pd.DataFrame([[1, 1] + [0] * 6, [0] * 8], index=["1.1", "1.2"], columns=list(TARGETS))
    own, fixed = (
        evaluate(make_reference(labels), [predictions], EvaluationSettings(points, n_resamples=9)).models[0].notes
        for points in (None, OPERATING_POINTS)
    )
    assert "The findings carry 2 different sets" in "".join(own)
    assert "different weights" in "".join(fixed)
    assert "different sets" not in "".join(fixed)
    _, warnings = operating_points_of_findings([old, make_findings("1.3", {}), make_rejected_findings("1.4")])
    assert warnings == ("1 of 2 findings carry no operating points; none is used: give --operating-points",)


def test_thresholds_are_inferred_from_the_points_that_findings_reach() -> None:
    findings = [
        reaching(make_findings(f"1.{n}", {OVERALL: p, "C3": p}), rule_out=(0.2, 0.3), triage=(0.9, 0.95))
        for n, p in enumerate((0.15, 0.25, 0.35, 0.92))
    ]

    points, warnings = operating_points_of_findings(findings)

    assert warnings == ()
    assert points is not None
    assert "inferred" in points.chosen_on
    rule_out, triage = points.points
    assert (rule_out, triage.name, triage.patient) == (
        FixedOperatingPoint(name="rule-out", patient=0.25, level=0.35), "triage", 0.92,
    )  # fmt: skip
    assert 0.92 < triage.level < 0.95  # which no vertebra reaches

    twisted = [findings[3].model_copy(update={"patient_overall": findings[0].patient_overall}), *findings[:3]]
    assert twisted[0].patient_overall is not None
    up = twisted[0].patient_overall.model_copy(update={"operating_points_reached": ("rule-out", "triage")})
    contradicting = [twisted[0].model_copy(update={"patient_overall": up}), *findings]
    points, warnings = operating_points_of_findings(contradicting)
    assert points is None
    assert len(warnings) == 2
    assert "no threshold agrees with where they reach rule-out" in warnings[0]
    assert operating_points_of_findings([make_findings("1.1", {}), make_rejected_findings("1.2")]) == (None, ())
    assert operating_points_of_findings([]) == (None, ())


def test_points_reached_that_contradict_the_thresholds_are_counted() -> None:
    findings = carrying(make_findings("1.1", {OVERALL: 0.5, "C4": 0.5}), triage=(0.3, 0.2))
    other = reaching(findings, triage=(0.6, 0.2))

    points, warnings = operating_points_of_findings([findings, other])

    assert points is not None
    assert points.points[0].patient == 0.3
    assert warnings == (
        "1 probabilities in the findings reach other operating points than the thresholds that the findings carry; the "
        "thresholds are used",
    )


@pytest.mark.parametrize("carries_thresholds", [True, False])
def test_a_patient_not_ruled_out_for_a_level_not_found_contradicts_no_threshold(carries_thresholds: bool) -> None:
    make = carrying if carries_thresholds else reaching
    findings = [make(make_findings(f"1.{n}", {OVERALL: p}), rule_out=(0.2, 0.3)) for n, p in enumerate((0.25, 0.15))]
    lacking = make(make_findings("1.3", {OVERALL: 0.12, "C6": None}), rule_out=(0.2, 0.3))
    patient, (*others, c6, c7) = lacking.patient_overall, lacking.vertebrae
    assert patient is not None
    lacking = lacking.model_copy(
        update={
            "patient_overall": patient.model_copy(update={"operating_points_reached": ("rule-out",)}),
            "vertebrae": (*others, c6.model_copy(update={"not_found": True}), c7),
        }
    )

    points, warnings = operating_points_of_findings([*findings, lacking])

    assert warnings == ()
    assert points is not None
    assert points.points[0].patient == (0.2 if carries_thresholds else 0.25)


def test_each_model_is_evaluated_at_its_own_operating_points(tables: object) -> None:
    labels, probability = tables(40)  # type: ignore[operator]
    models = [
        Predictions("carries", probability, operating_points=OPERATING_POINTS),
        Predictions("plain", probability * 0.9),
    ]

    result = evaluate(make_reference(labels), models, EvaluationSettings(n_resamples=50))

    assert [model.operating_points for model in result.models] == [OPERATING_POINTS, DEFAULT_OPERATING_POINT]
    assert [len(model.target("C1").operating_points) for model in result.models] == [2, 1]
    text = evaluation_markdown(result, title="t")
    assert "carries: Chosen on: others." in text
    assert "plain: No operating points were given; the default threshold was not chosen on any data." in text
    assert result.to_json()["models"][1]["operating_points"]["points"][0]["name"] == "default"
