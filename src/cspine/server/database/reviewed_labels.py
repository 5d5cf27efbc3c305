"""Labels of studies that readers have reviewed, in the layout of the challenge, for `cspine evaluate`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.server.database.tables import Job, JobState

STUDY: Final = "StudyInstanceUID"

COLUMNS: Final = (STUDY, OVERALL, *VERTEBRAE)


def reviewed_labels(session: Session) -> Iterator[dict[str, str | int]]:
    """Yield the labels of each study whose current answer was reviewed as a whole.

    A level that a reader accepts has the label of what the server says of it, suspicious or not; one that is rejected
    has the other. The last verdict on a level counts; an unsure one is none. A level outside the scan has label 0.
    Accepting the patient without a suspicious level reviews all levels. Studies with a level that nobody reviewed are
    left out: whether it is fractured is not known.
    """
    query = (
        select(Job)
        .where(Job.is_current, Job.state == JobState.DONE, Job.reviews.any())
        .options(selectinload(Job.reviews), selectinload(Job.study))
        .order_by(Job.id)
    )
    for job in session.scalars(query):
        levels = _labels(job)
        if levels is not None:
            yield {STUDY: job.study.study_instance_uid, OVERALL: max(levels.values()), **levels}


def reviewed_labels_csv(session: Session) -> str:
    """Return `reviewed_labels` as CSV, as `cspine evaluate --truth` reads it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(reviewed_labels(session))
    return text.getvalue()


def _labels(job: Job) -> dict[str, int] | None:
    """Return the label of each level; None where one is not known."""
    verdicts = {review.level: review.verdict for review in job.reviews}  # in order, so that the last one counts
    answers = {str(each["level"]): each for each in job.levels}
    is_negative = not any(each["is_suspicious"] for each in answers.values())
    if is_negative and verdicts.get(OVERALL) == "accept":
        verdicts = dict.fromkeys(VERTEBRAE, "accept") | verdicts
    labels = {level: _label(answers.get(level, {}), verdicts.get(level)) for level in VERTEBRAE}
    known = {str(level): label for level, label in labels.items() if label is not None}
    return known if len(known) == len(labels) else None


def _label(answer: Mapping[str, object], verdict: str | None) -> int | None:
    is_suspicious = bool(answer.get("is_suspicious"))
    if verdict == "accept":
        return int(is_suspicious)
    if verdict == "reject":
        return int(not is_suspicious)
    is_outside = answer.get("probability") is None and answer.get("coverage") == "absent"
    return 0 if is_outside and verdict is None else None
