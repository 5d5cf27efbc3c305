"""Everything that is told of systems, against known values and other libraries."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import MARK_COLUMNS
from cspine.core.errors import InputError, LabelError
from cspine.datasets.lesion_reference import Mark
from cspine.datasets.reference_standard import FRACTURE_COLUMNS, ReferenceStandard
from cspine.evaluation.cases import LEVELS, match
from cspine.evaluation.evaluate import (
    GLOBAL_OPTIMAL,
    PLAIN,
    STUDY_OPTIMAL,
    EvaluationResult,
    EvaluationSettings,
    Protocol,
    judge,
)
from cspine.evaluation.operating_point_metrics import FixedOperatingPoints, FrozenPoint
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import wilson
from cspine.metrics.reliability import predictive_values
from cspine.metrics.rsna2022 import challenge_loss, constant_baselines, metric_optimal, study_optimal
from cspine.reports.evaluation.markdown import evaluation_markdown
from cspine.reports.evaluation.sections import sections_of

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
POINTS = FixedOperatingPoints(
    chosen_on="others",
    points=(FrozenPoint(name="rule-out", patient=0.2, level=0.1), FrozenPoint(name="triage", patient=0.5, level=0.4)),
)


def truth_of(labels: pd.DataFrame, **more: object) -> ReferenceStandard:
    return ReferenceStandard("made up", labels, pd.Series(labels.index, index=labels.index), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def judged(tables: Tables) -> EvaluationResult:
    labels, strong = tables(300, skill=2.0)
    _, weak = tables(300, seed=1, skill=0.0)
    settings = EvaluationSettings(POINTS, constant_baselines(labels.mean()), draws=300)
    return judge(truth_of(labels), [Predictions("strong", strong), Predictions("weak", weak)], settings)


def test_rows_agree_with_scikit_learn(judged: EvaluationResult, tables: Tables) -> None:
    labels, said = tables(300, skill=2.0)
    system = judged.systems[0]

    assert [row.what for row in system.rows] == [*TARGETS, LEVELS]
    for target in TARGETS:
        row = system.row(target)
        assert row.auc.value == pytest.approx(roc_auc_score(labels[target], said[target]))
        assert row.average_precision.value == pytest.approx(average_precision_score(labels[target], said[target]))
        assert row.brier.value == pytest.approx(brier_score_loss(labels[target], said[target]))
        for interval in (row.auc, row.average_precision, row.brier):
            assert interval.low < interval.value <= interval.high
    together = system.row(LEVELS)
    flat = labels[list(VERTEBRAE)].to_numpy().ravel(), said[list(VERTEBRAE)].to_numpy().ravel()
    assert together.auc.value == pytest.approx(roc_auc_score(*flat))
    assert together.cases == 2100
    assert judged.systems[0].row("C3").positives == 11
    assert not system.row(OVERALL).few


def test_frozen_thresholds_do_what_they_do(judged: EvaluationResult, tables: Tables) -> None:
    labels, said = tables(300, skill=2.0)

    ruled_out, triage = judged.systems[0].row(OVERALL).points

    assert (ruled_out.name, ruled_out.threshold, triage.threshold) == ("rule-out", 0.2, 0.5)
    y, called = labels[OVERALL] > 0, said[OVERALL] >= 0.5
    assert (triage.hit, triage.missed) == ((y & called).sum(), (y & ~called).sum())
    assert (triage.cleared, triage.alarmed) == ((~y & ~called).sum(), (~y & called).sum())
    assert triage.positive_value.value == pytest.approx((y & called).sum() / called.sum())
    assert triage.negative_value.value == pytest.approx((~y & ~called).sum() / (~called).sum())
    rare = triage.reweighted[0]
    hit, alarm = 0.04 * triage.sensitivity.value, 0.96 * (1 - triage.specificity.value)
    assert rare.prevalence == 0.04
    assert rare.positive.value == pytest.approx(hit / (hit + alarm))
    assert rare.positive.low < rare.positive.value < rare.positive.high
    known = predictive_values(triage.sensitivity.value, triage.specificity.value, 0.04)
    assert (rare.positive.value, rare.negative.value) == pytest.approx(known)
    level = judged.systems[0].row("C2").points[1]
    assert level.threshold == 0.4
    assert not level.reweighted


def test_losses_are_the_challenges_and_paired_with_the_first(judged: EvaluationResult, tables: Tables) -> None:
    labels, strong = tables(300, skill=2.0)
    plain = strong.to_numpy()
    forms = {PLAIN: plain, GLOBAL_OPTIMAL: metric_optimal(plain), STUDY_OPTIMAL: study_optimal(plain)}
    rows = {row.name: row for row in judged.losses}

    for form, values in forms.items():
        row = rows[f"strong: {form}"]
        assert row.per_study.value == pytest.approx(challenge_loss(labels, values))
        assert row.globally.value == pytest.approx(challenge_loss(labels, values, normalise="global"))
        assert row.per_study.low < row.per_study.value < row.per_study.high
    half = rows["constant: all 0.5"]
    assert (half.per_study.low, half.per_study.value, half.globally.high) == pytest.approx((np.log(2),) * 3)
    first = judged.losses[0]
    assert half.per_study_difference.low == pytest.approx(np.log(2) - first.per_study.high)
    weak = rows[f"weak: {PLAIN}"]
    assert weak.per_study_difference.low > 0.0


def test_systems_are_compared_on_the_same_cases(judged: EvaluationResult) -> None:
    patient, levels = judged.comparisons

    assert (patient.one, patient.other, patient.what, levels.what) == ("strong", "weak", OVERALL, LEVELS)
    gap = judged.systems[0].row(LEVELS).auc.value - judged.systems[1].row(LEVELS).auc.value
    assert levels.difference.interval.value == pytest.approx(gap)
    assert levels.difference.interval.low > 0.0
    assert levels.difference.p < 1e-6


def test_what_one_system_does_not_answer_is_left_out_for_all(tables: Tables) -> None:
    labels, said = tables(40)
    gap = said.copy()
    gap.loc["1.3", "C7"] = np.nan
    some = Predictions("some", gap.drop(index=["1.0", "1.1"]), {"1.0": "too-thick", "1.1": "no-spine"})

    result = judge(truth_of(labels), [Predictions("all", said), some], EvaluationSettings(draws=100))

    assert result.studies == 38
    assert [system.not_assessable for system in result.systems] == [0, 2]
    assert result.systems[1].refused_fractured == labels.loc[["1.0", "1.1"], OVERALL].sum()
    for system in result.systems:
        assert system.silent == 1
        assert system.row("C7").cases == 37
        assert system.row("C6").cases == 38
        assert system.row(LEVELS).cases == 38 * 7 - 1
    alone = judge(
        truth_of(labels.iloc[2:]), [Predictions("all", said.drop(index=["1.0", "1.1"]))], EvaluationSettings(draws=100)
    )
    assert alone.losses[0].per_study.value != result.losses[0].per_study.value  # the gap counts nothing
    assert alone.systems[0].row("C6") == result.systems[0].row("C6")


def test_studies_without_an_answer_are_named(tables: Tables) -> None:
    labels, said = tables(40)

    with pytest.raises(LabelError, match=r"some: 5 of 40 studies have no answer \(first: 1\.0, 1\.1, 1\.2\)"):
        judge(truth_of(labels), [Predictions("some", said.iloc[5:])])
    with pytest.raises(LabelError, match="give one at least, each its own name"):
        judge(truth_of(labels), [Predictions("a", said), Predictions("a", said)])
    not_assessable = dict.fromkeys(labels.index, "too-thick")
    with pytest.raises(LabelError, match="no study was answered by every system"):
        judge(truth_of(labels), [Predictions("a", said.iloc[:0], not_assessable)])
    with pytest.raises(InputError, match="not eight constants"):
        judge(truth_of(labels), [Predictions("a", said)], EvaluationSettings(baselines={"half": [0.5] * 7}, draws=100))
    more = pd.concat([said, said.iloc[:1].rename(index={"1.0": "9.9"})])
    assert judge(truth_of(labels), [Predictions("a", more)], EvaluationSettings(draws=100)).systems[0].unasked == 1


def test_studies_of_one_patient_are_drawn_together(tables: Tables) -> None:
    labels, said = tables(60)
    twice = pd.concat([labels, labels.set_axis([f"2.{n}" for n in range(60)])])
    both = pd.concat([said, said.set_axis(twice.index[60:])])
    patients = pd.Series([*labels.index, *labels.index], index=twice.index)

    one = judge(truth_of(labels), [Predictions("a", said)], EvaluationSettings(draws=300)).systems[0]
    two = judge(replace(truth_of(twice), patients=patients), [Predictions("a", both)], EvaluationSettings(draws=300))

    assert (two.studies, two.patients) == (120, 60)
    for what in (OVERALL, LEVELS):
        alone, doubled = one.row(what), two.systems[0].row(what)
        assert doubled.auc.value == pytest.approx(alone.auc.value)
        assert doubled.auc.high - doubled.auc.low == pytest.approx(alone.auc.high - alone.auc.low, rel=0.02)
        assert doubled.brier.low == pytest.approx(alone.brier.low)


class _Known:
    """Truth that knows C2 of every broken study to lie at x = 0."""

    told = "near x = 0"

    def __init__(self, labels: pd.DataFrame) -> None:
        self.labels = labels

    def targets(self, study: str) -> tuple[str, ...] | None:
        return ("C2",) if self.labels.loc[study, "C2"] else ()

    def hit(self, mark: Mark) -> str | None:
        return "C2" if mark.level == "C2" and self.labels.loc[mark.study, "C2"] and abs(mark.x_lps_mm) < 1 else None


def test_marks_are_held_against_places() -> None:
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(10)], columns=list(TARGETS))
    labels.loc[["1.0", "1.1", "1.2", "1.3"], [OVERALL, "C2"]] = 1
    said = labels * 0.0 + 0.05
    said.loc[["1.0", "1.1", "1.2"], "C2"] = [0.9, 0.8, 0.7]
    said.loc["1.9", "C5"] = 0.75
    rows = [("1.0", "C2", 0.9, 0.0), ("1.1", "C2", 0.8, 5.0), ("1.2", "C2", 0.7, 0.5), ("1.9", "C5", 0.75, 0.0)]
    marks = pd.DataFrame([(*row, 0, 0, np.nan, np.nan, np.nan) for row in rows], columns=list(MARK_COLUMNS))

    result = judge(
        truth_of(labels, places=_Known(labels)),
        [Predictions("a", said, marks=marks)],
        EvaluationSettings(POINTS, draws=200),
    )

    found = result.systems[0].localisation
    assert found is not None
    assert (found.studies, found.broken, found.told) == (10, 4, "near x = 0")
    # By strength: hit, miss, false alarm at C5, hit.
    assert found.curve.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.5]
    assert found.curve.false_alarms.tolist() == [0.0, 0.1, 0.2, 0.2]
    assert found.sensitivity[0.125].value == 0.25
    assert found.sensitivity[0.25].value == 0.5
    assert found.sensitivity[0.25].low < 0.5 < found.sensitivity[0.25].high
    triage = found.detected[1]
    assert triage.called.value == 0.75
    assert triage.right.value == pytest.approx(2 / 3)
    confusion = result.systems[0].confusion
    assert confusion[1].tolist() == [1, 3, 0, 0, 0, 0, 0]  # 1.3 is not found: the first of equals is named


def test_parts_hold_their_own_cases() -> None:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(60)], columns=list(TARGETS))
    labels.iloc[:30, [0, 2]] = 1
    said = labels * 0.0 + rng.random(labels.shape) * 0.5
    said.iloc[:15, 2] = 0.9  # the clear ones
    words = ["clear"] * 15 + ["occult"] * 15
    fractures = pd.DataFrame(
        [(study, "C2", "hangman", word) for study, word in zip(labels.index[:30], words, strict=True)],
        columns=list(FRACTURE_COLUMNS),
    )
    groups = pd.DataFrame(
        {"slice_thickness_mm": [0.8, 2.5] * 30, "site": ["a"] * 20 + ["b"] * 40, "age": range(60)}, index=labels.index
    )

    result = judge(
        truth_of(labels, fractures=fractures, groups=groups), [Predictions("a", said)], EvaluationSettings(draws=100)
    )

    rows = {(row.of, row.group, row.value): row for row in result.systems[0].subgroups}
    clear, occult = rows["vertebrae", "visibility", "clear"], rows["vertebrae", "visibility", "occult"]
    assert (clear.cases, clear.positives, clear.auc.value) == (390 + 15, 15, 1.0)
    assert occult.auc.value < 0.8
    assert (clear.sensitivity.value, clear.sensitivity.high) == (1.0, 1.0)
    assert clear.sensitivity.low == pytest.approx(wilson(15, 15).low)
    assert rows["vertebrae", "kind", "hangman"].positives == 30
    assert rows["patients", "visibility", "clear or obvious"].positives == 15
    assert rows["vertebrae", "level", "C2"].cases == 60
    assert rows["vertebrae", "level", "C3"].few
    assert rows["patients", "slice thickness mm", "up to 1"].cases == 30
    assert rows["patients", "slice thickness mm", "above 2 to 3"].cases == 30
    assert rows["patients", "site", "a"].cases == 20
    assert sum(row.cases for (of, group, _), row in rows.items() if (of, group) == ("patients", "age")) == 60


def test_one_class_is_null_in_json_and_a_dash_in_the_report(tables: Tables) -> None:
    labels, said = tables()
    result = judge(truth_of(labels.assign(C3=0)), [Predictions("a | b", said)], EvaluationSettings(draws=100))

    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    text = evaluation_markdown(result, title="a | b")

    assert value["systems"][0]["rows"][3]["auc"]["value"] is None
    assert value["systems"][0]["rows"][3]["line"] is None
    assert "| C3 \\* | 0 of 120 | - | - |" in text
    assert "# a \\| b" in text
    assert "hantom" not in text
    bars = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| C3 \\* |")}
    assert bars == {5}  # of a table with four columns, whatever the system is called


def test_the_report_says_what_the_numbers_are_not(judged: EvaluationResult) -> None:
    text = evaluation_markdown(replace(judged, is_phantom=True), title="t")

    assert "not clinical accuracy" in text
    assert "Research use only" in text
    assert "Chosen on: others." in text
    titles = [section.title for section in sections_of(judged)]
    assert titles[:4] == ["Studies", "Ranking", "Calibration", "Operating points"]
    for section in sections_of(judged):
        if section.table:
            assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_matching_keeps_the_order_of_the_truth(tables: Tables) -> None:
    labels, said = tables(10)

    matched = match(truth_of(labels), [Predictions("a", said.iloc[::-1])])

    np.testing.assert_array_equal(matched.said["a"], said.to_numpy())


def test_the_challenges_size_takes_seconds(challenge: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    probability = (0.3 * challenge + 0.5 * rng.random(challenge.shape)).astype(float)

    start = time.process_time()
    result = judge(truth_of(challenge), [Predictions("a", probability)])

    assert result.draws == 2000
    assert time.process_time() - start < 60  # about 8 s on one core


def test_vertebrae_that_are_all_found_have_an_interval_all_the_same() -> None:
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(6)], columns=list(TARGETS))
    labels.loc[["1.0", "1.1"], [OVERALL, "C1", "C2"]] = 1

    point = judge(truth_of(labels), [Predictions("a", labels * 0.9)], EvaluationSettings(POINTS, draws=100))

    found = point.systems[0].row(LEVELS).points[1].sensitivity
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(2, 2).low)  # four vertebrae, of two patients


def test_pointing_counts_what_is_called_and_leaves_out_what_some_system_does_not_say() -> None:
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(6)], columns=list(TARGETS))
    labels.loc[["1.0", "1.1", "1.2"], [OVERALL, "C2"]] = 1
    said = labels * 0.9
    silent = said.copy()
    silent.loc["1.2", "C2"] = np.nan
    marks = pd.DataFrame([("1.0", "C2", 0.9, 0.0, 0, 0, np.nan, np.nan, np.nan)], columns=list(MARK_COLUMNS))
    systems = [Predictions("a", said, marks=marks), Predictions("b", silent)]

    result = judge(truth_of(labels, places=_Known(labels)), systems, EvaluationSettings(POINTS, draws=100))

    found = result.systems[0].localisation
    assert found is not None
    assert found.broken == 2
    assert found.detected[1].called.value == 1.0  # one of them without a mark
    assert found.detected[1].right.value == 0.5
    assert result.systems[1].localisation is None


def test_what_studies_differ_in_is_taken_from_findings_where_the_truth_does_not_tell(tables: Tables) -> None:
    labels, said = tables(40)
    about = pd.DataFrame({"kernel": ["soft", "sharp"] * 20, "weights": "w"}, index=said.index)

    rows = (
        judge(truth_of(labels), [Predictions("a", said, about=about)], EvaluationSettings(draws=100))
        .systems[0]
        .subgroups
    )

    assert [row.value for row in rows if (row.of, row.group) == ("patients", "kernel")] == ["sharp", "soft"]
    assert "weights" not in {row.group for row in rows}


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        ([np.nan] * 60, []),
        ([True, False] * 30, ["False", "True"]),
        ([0.0001 * n for n in range(60)], 3),
        ([20210101 + n for n in range(60)], 3),
        ([1.5, 3.0] * 30, ["1.5", "3"]),
        ([f"site {n % 20}" for n in range(60)], 13),
    ],
)
def test_groups_of_every_kind_are_parted(column: list[object], parts: list[str] | int) -> None:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(60)], columns=list(TARGETS))
    labels.iloc[::3, [0, 2]] = 1
    said = labels * 0.0 + rng.random(labels.shape)
    groups = pd.DataFrame({"column": column}, index=labels.index)

    rows = (
        judge(truth_of(labels, groups=groups), [Predictions("a", said)], EvaluationSettings(draws=100))
        .systems[0]
        .subgroups
    )

    found = [row for row in rows if (row.of, row.group) == ("patients", "column")]
    names = [row.value for row in found]
    assert len(set(names)) == len(names) == (parts if isinstance(parts, int) else len(parts))
    if isinstance(parts, list):
        assert names == parts
    elif not isinstance(column[0], str):
        assert {row.cases for row in found} == {20}


def test_circumstances_are_told(tables: Tables) -> None:
    labels, said = tables(40)
    truth = truth_of(labels)
    points = POINTS.model_copy(update={"studies_sha256": truth.studies_sha256})
    protocol = Protocol("holdout", "f" * 64, 2, 3)

    result = judge(
        truth, [Predictions("a", said, phantom_only=True)], EvaluationSettings(points, draws=100, protocol=protocol)
    )

    text = evaluation_markdown(result, title="t")
    assert "3 of these studies were learnt from: the numbers are too good" in text
    assert "The part 'hidden' of the split ffffffffffffffff." in text
    assert "It was looked at 2 times before" in text
    assert "These are the very studies that they are judged on here: they flatter." in text
    assert "a says that it has learnt from phantoms only." in text
    assert result.to_json()["protocol"]["part"] == "holdout"
