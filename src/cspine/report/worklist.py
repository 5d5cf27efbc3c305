"""Many studies in the order in which they should be read: the urgent first, none left waiting for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from cspine import __version__
from cspine.anatomy import OVERALL, RESEARCH_USE_ONLY, VERTEBRAE
from cspine.detect.reading import about_weights
from cspine.findings import Findings, in_words
from cspine.report.pages import environment

MAX_WAIT_MIN: Final = 60.0
"""No study waits longer than this for more urgent ones that came later."""

_TEMPLATE: Final = "worklist.html"


@dataclass(frozen=True)
class StudyResult:
    """What became of one study of many.

    Attributes
    ----------
    findings : Findings
        Of a study that broke, a refusal that says so.
    folder : str
        Where its files lie, below the worklist; '' where there are none.
    arrived : float
        When its newest file was written, seconds since 1970.
    thumbnail : bool
        Whether there is a picture.
    not_written : tuple of str
        A sentence for each result that was asked for and could not be made.
    """

    findings: Findings
    folder: str
    arrived: float
    thumbnail: bool = False
    not_written: tuple[str, ...] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether the patient, or a vertebra, reaches the triage point."""
        found = self.findings
        overall = found.patient_overall
        return bool(self.suspicious) or (overall is not None and "triage" in overall.above)

    @property
    def suspicious(self) -> tuple[str, ...]:
        """Levels that reach the triage point."""
        return tuple(vertebra.level for vertebra in self.findings.vertebrae if "triage" in vertebra.above)

    @property
    def probability(self) -> float:
        """Of any fracture; -1 where there is no answer."""
        overall = self.findings.patient_overall
        return overall.probability if overall else -1.0


@dataclass(frozen=True)
class WorklistRow:
    """A study in its place.

    Attributes
    ----------
    rank : int
        From 1.
    why : str
        Why it stands there.
    waited_min : float
        How long before the newest study it came.
    """

    rank: int
    why: str
    waited_min: float
    result: StudyResult


def order(results: Sequence[StudyResult], *, max_wait_min: float | None = MAX_WAIT_MIN) -> tuple[WorklistRow, ...]:
    """Return studies in the order in which they should be read.

    First those that have waited too long, the longest first: sorted by suspicion alone, a study that the network finds
    harmless, and may be wrong about, would wait for as long as others come. Then suspicious ones by their probability,
    then those without an answer, which nobody has looked at, then the others by their probability. Waiting is counted
    to when the newest study came, so that a folder of old studies is sorted as on the day when they came.

    Parameters
    ----------
    results : sequence of StudyResult
        In any order.
    max_wait_min : float, optional
        From which waiting goes before all else, minutes; None for never.
    """
    newest = max((result.arrived for result in results), default=0.0)

    def waited(result: StudyResult) -> float:
        return (newest - result.arrived) / 60.0

    def key(result: StudyResult) -> tuple[float, ...]:
        late = max_wait_min is not None and waited(result) > max_wait_min
        refused = result.findings.refused is not None
        group = 0 if late else 1 if result.is_suspicious else 2 if refused else 3
        return (group, -waited(result) if late else 0.0, -result.probability)

    chosen = sorted(results, key=lambda result: (key(result), result.findings.study_instance_uid))
    words = ("has waited too long", "suspicious", "no answer: not looked at", "not called suspicious")
    return tuple(
        WorklistRow(rank, words[int(key(result)[0])], waited(result), result)
        for rank, result in enumerate(chosen, start=1)
    )


def worklist_table(rows: Sequence[WorklistRow]) -> pd.DataFrame:
    """Return a row for each study, in order, safe to open as a spreadsheet."""
    told = []
    for row in rows:
        found = row.result.findings
        levels: dict[str, float | None] = dict.fromkeys(VERTEBRAE)
        levels |= {vertebra.level: vertebra.probability for vertebra in found.vertebrae}
        told.append(
            {
                "rank": row.rank,
                "study_instance_uid": found.study_instance_uid,
                "why": row.why,
                "waited_min": round(row.waited_min, 1),
                OVERALL: found.patient_overall.probability if found.patient_overall else None,
                **levels,
                "suspicious": " ".join(row.result.suspicious),
                "refused": found.refused.code if found.refused else None,
                "reason": found.refused.reason if found.refused else None,
                "not_written": "; ".join(row.result.not_written) or None,
                "folder": row.result.folder,
                "statement": found.statement,
            }
        )
    table = pd.DataFrame(told)
    for column in ("study_instance_uid", "reason", "not_written", "folder"):
        table[column] = table[column].map(_no_formula, na_action="ignore")
    return table


def worklist_page(rows: Sequence[WorklistRow], *, max_wait_min: float | None = MAX_WAIT_MIN) -> str:
    """Return the worklist as HTML without a script, to lie beside the studies' folders; what files say is escaped.

    Parameters
    ----------
    rows : sequence of WorklistRow
        Of `order`.
    max_wait_min : float, optional
        As `order` was given it, to be told.
    """
    some = rows[0].result.findings if rows else None
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            rows=rows,
            statement=RESEARCH_USE_ONLY,
            refused=sum(row.result.findings.refused is not None for row in rows),
            suspicious=sum(row.result.is_suspicious for row in rows),
            max_wait_min=max_wait_min,
            warnings=about_weights(some.weights, some.localizer) if some else (),
            in_words=in_words,
            version=__version__,
        )
    )


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: file names and UIDs come from the files."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
