"""A judgement as one HTML page that needs nothing else, not even a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cspine import __version__
from cspine.anatomy import RESEARCH_USE_ONLY
from cspine.evaluate.failures import Failure
from cspine.evaluate.guidelines import guideline_items
from cspine.evaluate.judge import Judgement
from cspine.evaluate.report import PHANTOM_STATEMENT
from cspine.evaluate.sections import sections_of
from cspine.report.pages import environment, inline


@dataclass(frozen=True)
class ShownFailure:
    """A failure with its picture, JPEG, where there is one."""

    failure: Failure
    picture: bytes | None


def evaluation_page(
    judgement: Judgement,
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
    return (
        environment()
        .get_template("evaluation.html")
        .render(
            title=title,
            statement=RESEARCH_USE_ONLY,
            phantom=PHANTOM_STATEMENT if judgement.is_phantom else "",
            sections=sections_of(judgement),
            figures={name: inline(data, "png") for name, data in figures.items()},
            failures=[
                {"source": inline(shown.picture, "jpeg") if shown.picture else "", "caption": shown.failure.caption}
                for shown in failures
            ],
            items=guideline_items(judgement, failures=bool(failures)),
            version=__version__,
        )
    )
