"""Calibration of a level network on patients that it was not trained on, and choice of its operating points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.core.typing import Floats, Indices
from cspine.metrics.calibration import calibrate_cases
from cspine.metrics.fit_calibration import fit_calibration, has_enough_cases
from cspine.metrics.operating_points import choose_operating_points
from cspine.metrics.rsna2022 import POSITIVE_FACTOR, remove_positive_weight
from cspine.models.metadata import OperatingPoint
from cspine.training.levels.dataset import CaseFiles, LevelDataset
from cspine.training.levels.network import LevelOutputs
from cspine.views.level_views import LevelViewSettings

_BATCH_SIZE = 4


@torch.no_grad()
def predict_cases(
    network: nn.Module, cases: Sequence[CaseFiles], views: LevelViewSettings, counts: tuple[int, int, int]
) -> pd.DataFrame:
    """Return raw probabilities, with the weight of positives in training removed.

    Parameters
    ----------
    network : Module
        A `LevelNetwork` after its training.
    cases : sequence of CaseFiles
        Cases that it was not trained on.
    views : LevelViewSettings
        How their views were compiled.
    counts : (int, int, int)
        Sagittal, coronal and axial views of each vertebra.

    Returns
    -------
    DataFrame, (cases, 8)
        Columns `TARGETS`, indexed by StudyInstanceUID; NaN for vertebrae that were not localized.
    """
    network = network.eval().cpu()
    rows = {}
    loader = DataLoader(LevelDataset(cases, views, (), counts, None), batch_size=_BATCH_SIZE)
    for number, batch in enumerate(loader):
        outputs: LevelOutputs = network(batch["images"], batch["planes"], batch["offsets"], batch["present"])
        weighted = torch.sigmoid(torch.cat([outputs.overall[:, None], outputs.levels], dim=1)).double().numpy()
        has_output = np.c_[np.ones(len(weighted), bool), batch["present"].numpy()]
        probability = remove_positive_weight(weighted, positive_weight=POSITIVE_FACTOR)
        for index, row in enumerate(np.where(has_output, probability, np.nan)):
            rows[cases[_BATCH_SIZE * number + index].study] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)


def calibration_metadata(
    raw: pd.DataFrame, cases: Sequence[CaseFiles], prevalence: float, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Fit both calibration maps and choose the operating points.

    Patients are weighted so that the fraction of fractured ones equals the prevalence. Groups of cases weigh alike,
    however many cases they have, and the operating points meet their criteria in each of them.

    Parameters
    ----------
    raw : DataFrame, (cases, 8)
        Raw probabilities, of `predict_cases`.
    cases : sequence of CaseFiles
        The same cases, in the same order.
    prevalence : float
        Fraction of fractured patients to calibrate for.
    groups : sequence of str, optional
        Group of each case, such as phantoms and real scans; one group where omitted.

    Returns
    -------
    dict
        Values of the fields of `cspine.models.metadata.LevelsMetadata` that concern calibration.
    """
    truth, probability = np.array([case.truth for case in cases]), raw.to_numpy(np.float64)
    patients = np.array([case.patient for case in cases])
    group = np.array(groups if groups is not None else [""] * len(cases))
    weight = _case_weights(truth[:, 0], group, prevalence)
    localized = ~np.isnan(probability[:, 1:])
    rows = np.nonzero(localized)[0]
    level_truth, level_probability = truth[:, 1:][localized], probability[:, 1:][localized]
    overall = fit_calibration(truth[:, 0], probability[:, 0], patients, weight)
    level = fit_calibration(level_truth, level_probability, patients[rows], weight[rows])
    levels_calibrated, overall_calibrated = calibrate_cases(level, overall, probability[:, 1:], probability[:, 0])
    absent_weight = np.broadcast_to(weight[:, None], localized.shape)[~localized]
    n_fractured = float(truth[:, 1:][~localized] @ absent_weight)
    return {
        "calibration_level": level,
        "calibration_overall": overall,
        "calibration_underpowered": not (has_enough_cases(truth[:, 0]) and has_enough_cases(level_truth)),
        "not_found_fracture_rate": (n_fractured + 0.5) / (float(absent_weight.sum()) + 10.0),  # prior: 0.5 of 10
        "operating_points_level": _operating_points(
            level_truth, levels_calibrated[localized], weight[rows], group[rows]
        ),
        "operating_points_overall": _operating_points(truth[:, 0], overall_calibrated, weight, group),
    }


def _case_weights(truth: Indices, group: npt.NDArray[np.str_], prevalence: float) -> Floats:
    """Return weights by which fractured patients have the prevalence in each group, and the groups weigh alike."""
    weight, names = np.ones(len(truth)), np.unique(group)
    for name in names:
        part = group == name
        share, fraction = len(truth) / len(names) / part.sum(), float(truth[part].mean())
        positive, negative = prevalence / max(fraction, 1e-9), (1 - prevalence) / max(1 - fraction, 1e-9)
        weight[part] = share * np.where(truth[part] > 0, positive, negative)
    return weight


def _operating_points(
    truth: Indices, probability: Floats, weight: Floats, group: npt.NDArray[np.str_]
) -> tuple[OperatingPoint, ...]:
    points = choose_operating_points(truth, probability, weight, group)
    return tuple(OperatingPoint(**vars(point)) for point in points)
