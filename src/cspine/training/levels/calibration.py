"""What a level network says of necks that it has not learnt from, and how that becomes chances."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from cspine.core.anatomy import TARGETS
from cspine.metrics.calibration import calibrate_cases
from cspine.metrics.fit_calibration import enough, fit_calibration
from cspine.metrics.operating_points import choose_points
from cspine.metrics.rsna2022 import unweighted
from cspine.models.metadata import OperatingPoint
from cspine.training.levels.dataset import CaseFiles, LevelData
from cspine.training.levels.network import LevelOutputs
from cspine.views.level_views import LevelViewSettings

POSITIVE_WEIGHT: Final = 2.0
"""Of a fractured target against a whole one, in the challenge's loss."""


@torch.no_grad()
def predict_cases(
    network: nn.Module, cases: Sequence[CaseFiles], views: LevelViewSettings, seen: tuple[int, int, int]
) -> pd.DataFrame:
    """Return plain probabilities, (necks, `TARGETS`), indexed by study; NaN where a vertebra was not found."""
    network = network.eval().cpu()
    rows = {}
    loader = DataLoader(LevelData(cases, views, (), seen, None), batch_size=4)
    for number, batch in enumerate(loader):
        outputs: LevelOutputs = network(batch["images"], batch["planes"], batch["offsets"], batch["present"])
        said = torch.sigmoid(torch.cat([outputs.overall[:, None], outputs.levels], dim=1)).double().numpy()
        there = np.c_[np.ones(len(said), bool), batch["present"].numpy()]
        for place, row in enumerate(np.where(there, unweighted(said, positive_weight=POSITIVE_WEIGHT), np.nan)):
            rows[cases[4 * number + place].study] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis("StudyInstanceUID")


def calibrated(raw: pd.DataFrame, cases: Sequence[CaseFiles], prevalence: float) -> dict[str, Any]:
    """Return both calibrations and the operating points, fitted on patients that the network has not learnt from."""
    truth, said = np.array([case.truth for case in cases]), raw.to_numpy(np.float64)
    patients = np.array([case.patient for case in cases])
    share = float(truth[:, 0].mean())
    broken, whole = prevalence / max(share, 1e-9), (1 - prevalence) / max(1 - share, 1e-9)
    weight = np.where(truth[:, 0] > 0, broken, whole)
    there = ~np.isnan(said[:, 1:])
    rows = np.nonzero(there)[0]
    level_truth, level_said = truth[:, 1:][there], said[:, 1:][there]
    overall = fit_calibration(truth[:, 0], said[:, 0], patients, weight)
    level = fit_calibration(level_truth, level_said, patients[rows], weight[rows])
    of_levels, of_patients = calibrate_cases(level, overall, said[:, 1:], said[:, 0])
    absent = np.broadcast_to(weight[:, None], there.shape)[~there]
    return {
        "calibration_level": level,
        "calibration_overall": overall,
        "too_few": not (enough(truth[:, 0]) and enough(level_truth)),
        "absent_chance": (float(truth[:, 1:][~there] @ absent) + 0.5) / (float(absent.sum()) + 10.0),
        "points_level": _points(level_truth, of_levels[there], weight[rows]),
        "points_overall": _points(truth[:, 0], of_patients, weight),
    }


def _points(
    truth: npt.NDArray[np.int64], probability: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> tuple[OperatingPoint, ...]:
    return tuple(OperatingPoint(**vars(point)) for point in choose_points(truth, probability, weight))
