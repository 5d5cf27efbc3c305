"""A site's scans for its calibration: findings of one set of weights, at the weights' own operating points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.errors import LabelError
from cspine.core.findings import CalibrationIdentity, Findings, Threshold
from cspine.evaluation.predictions import probability_table
from cspine.models.operating_points import OF_WEIGHTS


@dataclass(frozen=True)
class SiteScans:
    """The predictions of a site's scans, by one set of weights at its own operating points.

    Attributes
    ----------
    name : str
        Where the scans come from, for messages.
    probability : DataFrame, (n, 8)
        Calibrated probabilities of assessed studies, columns `TARGETS`; NaN of vertebrae without an answer.
    patients : (n,) str
        Patient of each study.
    base : CalibrationIdentity
        The weights' calibration and operating points.
    weights_sha256 : str
        Hash of the weights.
    test_time_augmentation : bool
        Whether the predictions are of test-time augmentation.
    n_not_assessable : int
        Number of further studies that are not assessable.
    """

    name: str
    probability: pd.DataFrame
    patients: npt.NDArray[np.str_]
    base: CalibrationIdentity
    weights_sha256: str
    test_time_augmentation: bool
    n_not_assessable: int = 0

    @property
    def triage(self) -> Threshold:
        """The weights' own triage point."""
        return next(point for point in self.base.points if point.name == "triage")

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(np.unique(self.patients))


def site_scans(name: str, findings: Sequence[Findings], patients: Mapping[str, str] | None = None) -> SiteScans:
    """Return the predictions of a site's scans from their findings.

    Parameters
    ----------
    name : str
        Where the findings come from, for messages.
    findings : sequence of Findings
        Findings of the scans.
    patients : mapping of str to str, optional
        StudyInstanceUID to patient; each study is a patient of its own where omitted.

    Raises
    ------
    LabelError
        The findings are of several weights, of weights without operating points, were recalibrated before, repeat a
        study, or lack a patient.
    """
    assessed = [each for each in findings if each.patient_overall is not None]
    if not assessed:
        raise LabelError(f"{name}: none of {len(findings)} scans is assessable; the findings say why")
    _require_one(name, "weights", {each.weights.sha256 for each in assessed})
    _require_one(name, "settings of test-time augmentation", {each.test_time_augmentation for each in assessed})
    base = assessed[0].calibration
    if base is None or all(point.name != "triage" for point in base.points):
        raise LabelError(f"{name}: its weights have no triage point; calibrate a level classifier")
    for each in assessed:
        if each.calibration is not None and each.calibration.points_sha256 is not None:
            raise LabelError(
                f"{name}: holds findings at the operating points of a file; predict again with --operating-points "
                f"{OF_WEIGHTS}"
            )
    _require_one(name, "calibrations", {each.calibration for each in assessed})
    table = probability_table(name, findings)
    studies = [str(study) for study in table.index]
    lacking = [study for study in studies if patients is not None and study not in patients]
    if lacking:
        raise LabelError(f"{name}: {len(lacking)} scans have no patient in the table (first: {lacking[0]}); add them")
    return SiteScans(
        name=name,
        probability=table,
        patients=np.array([patients[study] for study in studies] if patients is not None else studies),
        base=base,
        weights_sha256=assessed[0].weights.sha256,
        test_time_augmentation=assessed[0].test_time_augmentation,
        n_not_assessable=len(findings) - len(assessed),
    )


def _require_one(name: str, what: str, values: set[object]) -> None:
    if len(values) > 1:
        raise LabelError(f"{name}: holds findings of {len(values)} different {what}; give those of one")
