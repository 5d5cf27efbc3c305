"""Stratified splits by patient: balance, reproducibility, and invalid input."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cspine.core.errors import LabelError
from cspine.datasets.stratified_split import split_patients

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 120))
def test_split_shares_no_patient_and_balances_labels(tables: Tables, seed: int, studies: int) -> None:
    truth, _ = tables(studies, seed=seed)
    rng = np.random.default_rng(seed)
    patients = pd.Series([f"p{n}" for n in rng.integers(0, studies, studies)], index=truth.index)

    split = split_patients(truth, patients, {"train": 0.8, "validation": 0.2}, seed=seed % 100)

    assert split.groupby(patients).nunique().max() == 1
    by_patient = truth.groupby(patients).max()
    held_out = by_patient[split.groupby(patients).first() == "validation"]
    assert abs(len(held_out) - 0.2 * len(by_patient)) <= 3
    assert (held_out.sum() - 0.2 * by_patient.sum()).abs().max() <= 3


def test_split_balances_the_challenges_labels(challenge: pd.DataFrame) -> None:
    patients = pd.Series(challenge.index, index=challenge.index)

    split = split_patients(challenge, patients, {"train": 0.7, "validation": 0.15, "test": 0.15}, seed=0)

    assert split.index.equals(challenge.index)
    for part, fraction in {"train": 0.7, "validation": 0.15, "test": 0.15}.items():
        chosen = challenge[split == part]
        assert abs(len(chosen) - fraction * len(challenge)) <= 3
        assert (chosen.sum() - fraction * challenge.sum()).abs().max() <= 3


def test_same_seed_gives_same_split_in_any_order(tables: Tables) -> None:
    truth, _ = tables()
    patients = pd.Series(truth.index, index=truth.index)
    fractions = {"train": 0.7, "validation": 0.3}

    first, again, other = (split_patients(truth, patients, fractions, seed=seed) for seed in (1, 1, 2))
    reversed_order = split_patients(truth.iloc[::-1], patients.iloc[::-1], fractions, seed=1)

    assert first.equals(again)
    assert first.equals(reversed_order.iloc[::-1])
    assert not first.equals(other)


def test_part_with_fraction_zero_is_empty(tables: Tables) -> None:
    truth, _ = tables()

    split = split_patients(truth, pd.Series(truth.index, index=truth.index), {"train": 1.0, "validation": 0.0}, seed=0)

    assert set(split) == {"train"}


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.5, "validation": -0.5}, {}])
def test_invalid_fractions_raise(tables: Tables, fractions: dict[str, float]) -> None:
    truth, _ = tables()

    with pytest.raises(LabelError, match="not fractions that sum to 1"):
        split_patients(truth, pd.Series(truth.index, index=truth.index), fractions, seed=0)


def test_invalid_studies_raise(tables: Tables) -> None:
    truth, _ = tables()
    patients = pd.Series(truth.index, index=truth.index)

    with pytest.raises(LabelError, match=r"1 studies lack a patient or a label.*\(first: 1\.4\)"):
        split_patients(truth, patients.where(patients != "1.4"), {"train": 1.0}, seed=0)
    with pytest.raises(LabelError, match="not of the same studies in the same order"):
        split_patients(truth, patients.iloc[::-1], {"train": 1.0}, seed=0)
    with pytest.raises(LabelError, match="no studies to split"):
        split_patients(truth.iloc[:0], patients.iloc[:0], {"train": 1.0}, seed=0)
