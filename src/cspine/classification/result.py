"""The result of predicting one case."""

from dataclasses import dataclass

from cspine.classification.prediction import NetworkPrediction
from cspine.core.findings import Findings
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
    """

    findings: Findings
    compiled: CompiledStudy | None
    prediction: NetworkPrediction | None
