"""Summaries of labels and geometry."""

import numpy as np
import pandas as pd
import pytest

from cspine.core.anatomy import CHALLENGE_POSITIVES
from cspine.datasets.summary import summarize_geometry, summarize_labels


def test_summary_of_the_challenges_labels(challenge: pd.DataFrame) -> None:
    summary = summarize_labels(challenge)

    assert summary.n_studies == 2019
    assert summary.counts == CHALLENGE_POSITIVES
    assert summary.levels_per_study == {1: 623, 2: 239, 3: 64, 4: 26, 5: 7, 6: 2}
    assert summary.prevalence["patient_overall"].value == pytest.approx(0.476, abs=5e-4)
    assert summary.prevalence["C3"].low < 73 / 2019 < summary.prevalence["C3"].high
    cooccurrence = summary.cooccurrence
    assert [cooccurrence.loc[a, b] for a, b in (("C6", "C7"), ("C5", "C6"), ("C1", "C2"), ("C4", "C5"))] == [
        130,
        90,
        56,
        51,
    ]
    assert np.array_equal(cooccurrence, cooccurrence.T)
    assert np.diag(cooccurrence).tolist() == [summary.counts[level] for level in cooccurrence.index]


def test_summary_of_stated_geometry() -> None:
    table = pd.DataFrame({"slices": [100, 300, 200], "slice_thickness_mm": [0.5, None, 1.0], "reason": None})

    geometry = summarize_geometry(table)

    assert geometry.index.tolist() == ["slices", "slice_thickness_mm"]
    assert geometry.columns.tolist() == ["min", "median", "max"]
    assert geometry.to_numpy().tolist() == [[100, 200, 300], [0.5, 0.75, 1.0]]
    assert summarize_geometry(pd.DataFrame({"reason": ["x"]})).empty
