import numpy as np
import pandas as pd
import pytest

from cspine.core.anatomy import CHALLENGE_POSITIVES
from cspine.datasets.summary import describe_geometry, describe_labels


def test_the_challenges_labels_are_described_with_its_numbers(challenge: pd.DataFrame) -> None:
    described = describe_labels(challenge)

    assert described.studies == 2019
    assert described.counts == CHALLENGE_POSITIVES
    assert described.levels_per_study == {1: 623, 2: 239, 3: 64, 4: 26, 5: 7, 6: 2}
    assert described.shares["patient_overall"].value == pytest.approx(0.476, abs=5e-4)
    assert described.shares["C3"].low < 73 / 2019 < described.shares["C3"].high
    together = described.together
    assert [together.loc[a, b] for a, b in (("C6", "C7"), ("C5", "C6"), ("C1", "C2"), ("C4", "C5"))] == [
        130,
        90,
        56,
        51,
    ]
    assert np.array_equal(together, together.T)
    assert np.diag(together).tolist() == [described.counts[level] for level in together.index]


def test_geometry_is_described_where_it_is_stated() -> None:
    table = pd.DataFrame({"slices": [100, 300, 200], "slice_thickness_mm": [0.5, None, 1.0], "reason": None})

    measures = describe_geometry(table)

    assert measures.index.tolist() == ["slices", "slice_thickness_mm"]
    assert measures.columns.tolist() == ["min", "median", "max"]
    assert measures.to_numpy().tolist() == [[100, 200, 300], [0.5, 0.75, 1.0]]
    assert describe_geometry(pd.DataFrame({"reason": ["x"]})).empty
