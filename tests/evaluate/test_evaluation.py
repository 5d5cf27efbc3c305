import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from cspine.anatomy import TARGETS, VERTEBRAE
from cspine.errors import LabelError
from cspine.evaluate import figures, metrics
from cspine.evaluate.describe import describe_geometry, describe_labels
from cspine.evaluate.evaluation import evaluate
from cspine.evaluate.intervals import bootstrap_auc, bootstrap_mean, patient_weights, percentile_interval, wilson
from cspine.evaluate.report import evaluation_markdown
from cspine.evaluate.split import split_patients


def tables(studies: int = 120, *, seed: int = 0, skill: float = 1.5) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    levels = rng.random((studies, 7)) < [0.07, 0.14, 0.04, 0.05, 0.08, 0.14, 0.19]
    truth = np.column_stack([levels.any(axis=1), levels]).astype(int)
    score = rng.normal(size=truth.shape) + skill * truth - 1.5
    index = pd.Index([f"1.{n}" for n in range(studies)], name="StudyInstanceUID")
    probability = pd.DataFrame(1 / (1 + np.exp(-score)), index=index, columns=list(TARGETS))
    return pd.DataFrame(truth, index=index, columns=list(TARGETS)), probability


def test_bootstrapped_auc_is_that_of_resampled_studies_ties_included() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    score = np.round(truth * 0.5 + rng.random(60), 1)  # many ties
    weights = patient_weights(np.arange(60), draws=25, seed=3)

    fast = bootstrap_auc(truth, score, weights)

    slow = [roc_auc_score(np.repeat(truth, row), np.repeat(score, row)) for row in weights]
    np.testing.assert_allclose(fast, slow)


def test_a_draw_with_one_class_is_left_out_and_counted() -> None:
    weights = np.array([[1, 1, 0], [0, 1, 2], [1, 0, 2]], np.int32)

    drawn = bootstrap_auc([1, 1, 0], [0.9, 0.2, 0.1], weights)
    interval = percentile_interval(1.0, drawn)

    assert np.isnan(drawn).tolist() == [True, False, False]
    assert interval.unusable == 1
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_studies_of_one_patient_are_drawn_together() -> None:
    weights = patient_weights(["a", "a", "b", "c"], draws=50, seed=0)

    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 0], weights[:, 2])
    assert np.all(weights[:, 1:].sum(axis=1) == 3)


def test_the_interval_of_a_mean_is_about_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    drawn = bootstrap_mean(values, patient_weights(np.arange(400), draws=4000, seed=1))

    interval = percentile_interval(float(values.mean()), drawn)

    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.015)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.015)


def test_wilson_at_the_ends() -> None:
    none, all_of_them = wilson(0, 10), wilson(10, 10)

    assert none.low == pytest.approx(0.0, abs=1e-12)
    assert none.high == pytest.approx(0.2775, abs=1e-4)
    assert all_of_them.low == pytest.approx(0.7225, abs=1e-4)
    assert np.isnan(wilson(0, 0).value)


def test_an_evaluation_holds_the_model_beside_the_constants() -> None:
    truth, probability = tables()
    half = probability * 0 + 0.5
    patients = pd.Series(truth.index, index=truth.index)

    result = evaluate(truth, {"model": probability, "half": half}, patients, draws=500)

    assert [row.name for row in result.losses] == ["model", "half"]
    assert result.losses[1].study.value == pytest.approx(np.log(2))
    assert result.losses[1].study.low == pytest.approx(np.log(2))
    for row in result.targets:
        assert row.auc.low < row.auc.value <= row.auc.high
        assert row.positives == truth[row.target].sum()
    assert result.all_negative_accuracy == pytest.approx(1 - truth.to_numpy().mean())
    text = evaluation_markdown(result, phantom=True, weights="some weights")
    assert "not clinical accuracy" in text
    assert "Research use only" in text
    assert "| half | 0.6931 (0.6931-0.6931) |" in text
    assert f"already gets {100 * result.all_negative_accuracy:.1f} %" in text


def test_tables_of_other_studies_are_refused() -> None:
    truth, probability = tables()
    patients = pd.Series(truth.index, index=truth.index)

    with pytest.raises(LabelError, match="'model' and the labels are not of the same studies"):
        evaluate(truth, {"model": probability.iloc[::-1]}, patients)


def test_reliability_of_true_probabilities_is_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)

    mean, observed, counts = metrics.reliability(rng.random(200_000) < probability, probability)

    np.testing.assert_allclose(observed, mean, atol=0.02)
    assert counts.sum() == 200_000


def test_labels_are_described_with_pairs() -> None:
    truth, _ = tables()

    described = describe_labels(truth)

    assert described.counts["C7"] == truth["C7"].sum()
    assert described.together.loc["C6", "C7"] == int((truth["C6"] & truth["C7"]).sum())
    assert sum(described.levels_per_study.values()) == truth["patient_overall"].sum()
    measures = describe_geometry(pd.DataFrame({"slices": [100, 300, 200], "rows": [512, 512, 768]}))
    assert measures.to_numpy()[0].tolist() == [100, 200, 300]


@pytest.mark.parametrize("name", ["roc", "reliability", "labels", "together", "geometry"])
def test_every_figure_is_drawn(name: str, tmp_path: Path) -> None:
    truth, probability = tables()
    geometry = pd.DataFrame({"slices": [1.0, 2.0], "slice_spacing_mm": [1.0, 1.1], "pixel_spacing_mm": [0.3, None]})
    drawn = {
        "roc": lambda: figures.roc_figure(truth, probability, phantom=True),
        "reliability": lambda: figures.reliability_figure(truth, probability, phantom=True),
        "labels": lambda: figures.labels_figure(truth, phantom=False),
        "together": lambda: figures.cooccurrence_figure(describe_labels(truth).together, phantom=False),
        "geometry": lambda: figures.geometry_figure(geometry, phantom=True),
    }[name]()

    figures.save_figure(drawn, tmp_path / "a.png")

    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 120))
def test_splits_share_no_patient_and_spread_every_label(seed: int, studies: int) -> None:
    truth, _ = tables(studies, seed=seed)
    rng = np.random.default_rng(seed)
    patients = pd.Series([f"p{n}" for n in rng.integers(0, studies, studies)], index=truth.index)

    split = split_patients(truth, patients, {"train": 0.8, "tune": 0.2}, seed=seed % 100)

    assert split.groupby(patients).nunique().max() == 1
    by_patient = truth.groupby(patients).max()
    part = split.groupby(patients).first()
    assert (part == "tune").mean() == pytest.approx(0.2, abs=0.06)
    for target in TARGETS:
        positives = int(by_patient[target].sum())
        assert abs(int(by_patient[target][part == "tune"].sum()) - 0.2 * positives) <= 2.5 + 0.05 * positives


def test_the_same_seed_gives_the_same_split() -> None:
    truth, _ = tables()
    patients = pd.Series(truth.index, index=truth.index)
    fractions = {"train": 0.7, "tune": 0.3}

    first, again, other = (split_patients(truth, patients, fractions, seed=seed) for seed in (1, 1, 2))

    assert first.equals(again)
    assert not first.equals(other)
    with pytest.raises(LabelError, match=r"sum to 0\.500"):
        split_patients(truth, patients, {"train": 0.5}, seed=0)


def test_json_of_vertebrae_is_complete() -> None:
    assert json.loads(json.dumps(describe_labels(tables()[0]).counts)).keys() == {"patient_overall", *VERTEBRAE}
