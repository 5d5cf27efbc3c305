"""The submission file of the RSNA 2022 challenge."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import InputError, LabelError
from cspine.metrics.rsna2022 import check_probabilities

ROW_ID: Final = "row_id"
FRACTURED: Final = "fractured"

_COLUMN_ORDER: Final = tuple(TARGETS.index(target) for target in (*VERTEBRAE, OVERALL))


def submission_table(
    studies: Sequence[str], probability: npt.ArrayLike, *, row_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the challenge's submission: eight rows per study, C1 to C7 and then patient_overall.

    Parameters
    ----------
    studies : sequence of str
        StudyInstanceUID of each study, in order.
    probability : (n, 8) array_like
        Probabilities of these studies, columns `TARGETS`.
    row_ids : sequence of str, optional
        The ``row_id`` column of the challenge's test.csv: the required rows, in that order. If omitted, all rows of
        all studies are returned in the order of the studies.

    Returns
    -------
    DataFrame
        Columns ``row_id`` and ``fractured``.

    Raises
    ------
    InputError
        Lengths differ, a probability is not from 0 to 1, or a study is repeated.
    LabelError
        A required row is repeated, or has no probability.
    """
    values = np.asarray(probability, dtype=np.float64)
    if values.shape != (len(studies), len(TARGETS)):
        raise InputError(f"probabilities are {values.shape}, not ({len(studies)}, {len(TARGETS)}) as studies need")
    if len(set(studies)) != len(studies):
        raise InputError("a study is repeated in the submission; give each study once")
    check_probabilities(values)
    rows = [f"{study}_{TARGETS[column]}" for study in studies for column in _COLUMN_ORDER]
    table = pd.DataFrame({ROW_ID: rows, FRACTURED: values[:, _COLUMN_ORDER].ravel()})
    return table if row_ids is None else _select_rows(table, row_ids)


def _select_rows(table: pd.DataFrame, row_ids: Sequence[str]) -> pd.DataFrame:
    """Return the rows that test.csv requires, in its order."""
    required = pd.Index(row_ids)
    predicted = set(table[ROW_ID])
    checks = (
        (required[required.duplicated()].tolist(), "are repeated in test.csv; get the file again"),
        ([row for row in required if row not in predicted], "of test.csv have no probability; predict their studies"),
    )
    for offenders, problem in checks:
        if offenders:
            raise LabelError(f"{len(offenders)} of {len(required)} rows {problem} (first: {', '.join(offenders[:3])})")
    return table.set_index(ROW_ID).loc[required].rename_axis(ROW_ID).reset_index()
