"""The result of one study, with what it was read from."""

from dataclasses import dataclass

from cspine.classification.prediction import NetworkPrediction
from cspine.core.findings import Findings
from cspine.views.compiled import CompiledStudy


@dataclass(frozen=True)
class CaseResult:
    """A study's findings, with what they were read from.

    Attributes
    ----------
    compiled : CompiledStudy or None
        None where the study could not be compiled.
    reading : Reading or None
        What the network said; None where the study is refused.
    """

    findings: Findings
    compiled: CompiledStudy | None
    reading: NetworkPrediction | None
