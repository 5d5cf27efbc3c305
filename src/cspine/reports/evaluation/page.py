"""An evaluation as a self-contained HTML page without scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.failures import Failure
from cspine.reports.evaluation.evaluation_sections import evaluation_sections
from cspine.reports.evaluation.guidelines import guideline_items
from cspine.reports.evaluation.sections_page import sections_page
from cspine.reports.pages import data_url


@dataclass(frozen=True)
class FailureImage:
    """A failure, with a JPEG of the vertebra if there is one."""

    failure: Failure
    jpeg: bytes | None


def evaluation_page(
    result: EvaluationResult,
    *,
    title: str,
    figures: Mapping[str, bytes],
    failures: Sequence[FailureImage] = (),
) -> str:
    """Return an evaluation as HTML; all text that comes from files is escaped.

    Parameters
    ----------
    result : EvaluationResult
        Result of the evaluation that is reported.
    title : str
        Title of the page: what was evaluated.
    figures : mapping of str to bytes
        PNG files, keyed by the names that sections give their figures.
    failures : sequence of FailureImage
        The failures of the failure analysis.
    """
    gallery = [
        {"url": data_url(each.jpeg, "jpeg") if each.jpeg else "", "caption": each.failure.caption} for each in failures
    ]
    return sections_page(
        evaluation_sections(result),
        title=f"Evaluation: {title}",
        figures=figures,
        is_phantom=result.is_phantom,
        template="evaluation.html",
        variables={"failures": gallery, "guidelines": guideline_items(result, has_failures=bool(failures))},
    )
