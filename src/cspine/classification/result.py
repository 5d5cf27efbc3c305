"""The result of predicting one case."""

from dataclasses import dataclass

from cspine.classification.prediction import NetworkPrediction
from cspine.core.findings import Findings
from cspine.dicom.series import Series
from cspine.views.compiled import CompiledStudy


@dataclass(frozen=True)
class CaseResult:
    """The findings of a study, with what they are based on.

    Attributes
    ----------
    findings : Findings
        What is written to ``findings.json``.
    compiled : CompiledStudy or None
        The compiled images; None where the study could not be compiled.
    prediction : NetworkPrediction or None
        The prediction of the network; None where the study is not assessable.
    series : Series or None
        The series that was read, or of a study that is not assessable any of its series, whose headers name patient
        and study; None where no header can be read.
    """

    findings: Findings
    compiled: CompiledStudy | None
    prediction: NetworkPrediction | None
    series: Series | None = None
