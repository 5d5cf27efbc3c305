"""Many studies in the order in which they should be read: the urgent first, none left waiting for ever."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from cspine import __version__
from cspine.classification.prediction import phantom_only_warning
from cspine.core.anatomy import OVERALL, RESEARCH_USE_ONLY, VERTEBRAE
from cspine.core.findings import Findings, assessment_label
from cspine.reports.pages import environment

MAX_WAIT_MIN: Final = 60.0
"""A study that has waited longer goes before all that have not."""

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
        When its newest file was written, or it was first seen, seconds since 1970.
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
        overall = self.findings.patient_overall
        return bool(self.findings.suspicious) or (overall is not None and overall.is_suspicious)

    @property
    def group(self) -> int:
        """In which of four groups it is read: suspicious, without operating points, without an answer, the others."""
        if self.findings.not_assessable is not None:
            return 2
        if self.is_suspicious:
            return 0
        return 3 if self.findings.calibration is not None else 1

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
        Since its newest file was written.
    """

    rank: int
    why: str
    waited_min: float
    result: StudyResult


_WORDS: Final = ("suspicious", "no operating point: by its number", "no answer: not looked at", "not called suspicious")


def order(
    results: Sequence[StudyResult], *, max_wait_min: float | None = MAX_WAIT_MIN, now: float | None = None
) -> tuple[WorklistRow, ...]:
    """Return studies in the order in which they should be read.

    First those that have waited too long: sorted by suspicion alone, a study that the network finds harmless, and may
    be wrong about, would wait for as long as others come. Among those, and then among the others: suspicious ones by
    their probability, those of weights without operating points by theirs, those without an answer, which nobody has
    looked at, and the rest by their probability. So a folder of old studies, which all have waited too long, is in the
    order of urgency, too.

    Parameters
    ----------
    results : sequence of StudyResult
        In any order.
    max_wait_min : float, optional
        From which waiting goes before all else, minutes; None for never.
    now : float, optional
        Seconds since 1970, to which waiting is counted; now where left out.
    """
    until = time.time() if now is None else now

    def waited(result: StudyResult) -> float:
        return max(until - result.arrived, 0.0) / 60.0

    def late(result: StudyResult) -> bool:
        return max_wait_min is not None and waited(result) > max_wait_min

    def key(result: StudyResult) -> tuple[bool, int, float, str]:
        return (not late(result), result.group, -result.probability, result.findings.study_instance_uid)

    return tuple(
        WorklistRow(rank, f"{'waited too long; ' * late(result)}{_WORDS[result.group]}", waited(result), result)
        for rank, result in enumerate(sorted(results, key=key), start=1)
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
                "suspicious": " ".join(found.suspicious),
                "not_assessable": found.not_assessable.code if found.not_assessable else None,
                "reason": found.not_assessable.reason if found.not_assessable else None,
                "remarks": "; ".join(found.patient_overall.reasons) if found.patient_overall else None,
                "warnings": "; ".join(found.warnings) or None,
                "not_written": "; ".join(row.result.not_written) or None,
                "folder": row.result.folder,
                "statement": found.statement,
            }
        )
    table = pd.DataFrame(told)
    for column in ("study_instance_uid", "reason", "not_written", "folder"):
        table[column] = table[column].map(_no_formula, na_action="ignore")
    return table


def worklist_page(rows: Sequence[WorklistRow], *, max_wait_min: float | None = MAX_WAIT_MIN, skipped: int = 0) -> str:
    """Return the worklist as HTML without a script, to lie beside the studies' folders; what files say is escaped.

    Parameters
    ----------
    rows : sequence of WorklistRow
        Of `order`.
    max_wait_min : float, optional
        As `order` was given it, to be told.
    skipped : int
        Files that no study can be told of.
    """
    some = rows[0].result.findings if rows else None
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            rows=rows,
            statement=RESEARCH_USE_ONLY,
            not_assessable=sum(row.result.findings.not_assessable is not None for row in rows),
            suspicious=sum(row.result.is_suspicious for row in rows),
            max_wait_min=max_wait_min,
            late=sum(max_wait_min is not None and row.waited_min > max_wait_min for row in rows),
            waiting=_waiting,
            skipped=skipped,
            warnings=phantom_only_warning(some.weights, some.localizer) if some else (),
            assessment_label=assessment_label,
            version=__version__,
        )
    )


def _waiting(minutes: float) -> str:
    """Return a time in the unit that says most.

    >>> _waiting(12.3), _waiting(150.0), _waiting(5000.0)
    ('12 min', '2.5 h', '3 days')
    """
    if minutes < 120.0:
        return f"{minutes:.0f} min"
    return f"{minutes / 60.0:.1f} h" if minutes < 2880.0 else f"{minutes / 1440.0:.0f} days"


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: file names and UIDs come from the files."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
