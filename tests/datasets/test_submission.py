"""The submission file of the challenge: order of rows, and invalid input."""

import math

import numpy as np
import pytest

from cspine.core.errors import InputError, LabelError
from cspine.datasets.submission import submission_table


def test_submission_has_eight_rows_per_study() -> None:
    table = submission_table(["1.1", "1.2"], np.arange(16).reshape(2, 8) / 16)

    assert table.columns.tolist() == ["row_id", "fractured"]
    assert table["row_id"].tolist()[:8] == [*(f"1.1_C{n}" for n in range(1, 8)), "1.1_patient_overall"]
    assert table["fractured"].tolist()[:8] == [n / 16 for n in (1, 2, 3, 4, 5, 6, 7, 0)]


def test_submission_has_required_rows_in_their_order() -> None:
    required = ["1.2_patient_overall", "1.1_C7", "1.2_C1"]

    table = submission_table(["1.1", "1.2"], np.arange(16).reshape(2, 8) / 16, row_ids=required)

    assert table["row_id"].tolist() == required
    assert table["fractured"].tolist() == [8 / 16, 7 / 16, 9 / 16]


def test_invalid_submission_raises() -> None:
    values = np.zeros((1, 8))

    with pytest.raises(InputError, match="is repeated"):
        submission_table(["1.1", "1.1"], np.zeros((2, 8)))
    with pytest.raises(InputError, match="as studies need"):
        submission_table(["1.1"], np.zeros((2, 8)))
    with pytest.raises(InputError, match="not from 0 to 1, first in row 0, patient_overall: nan"):
        submission_table(["1.1"], values * math.nan)
    with pytest.raises(LabelError, match=r"2 of 3 rows of test\.csv have no probability.*\(first: 1\.2_C1, 1\.2_C2\)"):
        submission_table(["1.1"], values, row_ids=["1.1_C1", "1.2_C1", "1.2_C2"])
    with pytest.raises(LabelError, match=r"1 of 2 rows are repeated in test\.csv"):
        submission_table(["1.1"], values, row_ids=["1.1_C1", "1.1_C1"])
