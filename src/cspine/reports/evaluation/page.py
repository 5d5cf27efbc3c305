"""A judgement as one HTML page that needs nothing else, not even a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.failures import Failure
from cspine.reports.evaluation.guidelines import guideline_items
from cspine.reports.evaluation.sections import sections_of
from cspine.reports.evaluation.sections_page import sections_page
from cspine.reports.pages import inline


@dataclass(frozen=True)
class ShownFailure:
    """A failure with its picture, JPEG, where there is one."""

    failure: Failure
    picture: bytes | None


def evaluation_page(
    judgement: EvaluationResult,
    *,
    title: str,
    figures: Mapping[str, bytes],
    failures: Sequence[ShownFailure] = (),
) -> str:
    """Return the report as HTML; everything that comes from files is escaped.

    Parameters
    ----------
    judgement : Judgement
        What to show.
    title : str
        What was judged.
    figures : mapping of str to bytes
        PNG, by the names that sections give their figures.
    failures : sequence of ShownFailure
        The worst ones.
    """
    shown = [
        {"source": inline(one.picture, "jpeg") if one.picture else "", "caption": one.failure.caption}
        for one in failures
    ]
    return sections_page(
        sections_of(judgement),
        title=f"Evaluation: {title}",
        figures=figures,
        phantom=judgement.is_phantom,
        template="evaluation.html",
        more={"failures": shown, "items": guideline_items(judgement, failures=bool(failures))},
    )
