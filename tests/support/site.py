"""Scans of a site whose log-odds are known: made-up findings of intact and of fractured patients."""

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.findings import CalibrationIdentity, Threshold
from cspine.evaluation.site_scans import SiteScans
from cspine.metrics.calibration import sigmoid
from tests.support.predictions import WEIGHTS

TRIAGE = Threshold(name="triage", target="specificity of at least 90%", level=0.05, patient=0.3)
BASE = CalibrationIdentity(fitted_on="others", prevalence=0.5, points=(TRIAGE,))


def site_table(n_patients: int, *, fractured: int = 0, shift_logit: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Return probabilities of patients of whom the first are fractured, all log-odds shifted by as much.

    Log-odds of intact and fractured patients are normal with variance 4 and means -2 and 2: without shift they are the
    log-odds of a fracture at a prevalence of one half.
    """
    rng = np.random.default_rng(seed)
    of_patient = rng.normal(np.where(np.arange(n_patients) < fractured, 2.0, -2.0), 2.0)
    levels = rng.normal(-5.0, 1.0, (n_patients, 7)) + 0.5 * of_patient[:, None]
    values = sigmoid(np.column_stack([of_patient, levels]) + shift_logit)
    return pd.DataFrame(values, index=[f"1.{number}" for number in range(n_patients)], columns=list(TARGETS))


def make_scans(table: pd.DataFrame, patients: list[str] | None = None) -> SiteScans:
    """Return scans with these probabilities; each study is a patient of its own unless given otherwise."""
    names = np.array([str(study) for study in table.index] if patients is None else patients)
    return SiteScans("site", table, names, BASE, WEIGHTS.sha256, False)
