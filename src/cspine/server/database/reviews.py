"""What readers say of the server's answers."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

from sqlalchemy.orm import Session

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError
from cspine.core.text import sanitize_text
from cspine.server.database.tables import MAX_TEXT, Job, Review

Verdict = Literal["accept", "reject", "unsure"]

REVIEWED_LEVELS: Final = (*VERTEBRAE, "patient_overall")

_MAX_COMMENT: Final = 2000


def add_review(
    session: Session, job: Job, level: str, verdict: str, *, comment: str = "", user: str, now: datetime
) -> Review:
    """Add what a reader says of one level; the last one of a user and level counts.

    Raises
    ------
    InputError
        The level or the verdict is none.
    """
    if level not in REVIEWED_LEVELS:
        raise InputError(f"{sanitize_text(level, 16)}: is no level; give C1 to C7 or patient_overall")
    if verdict not in get_args(Verdict):
        raise InputError(f"{sanitize_text(verdict, 16)}: is no verdict; give accept, reject or unsure")
    review = Review(
        job=job,
        level=level,
        verdict=verdict,
        comment=sanitize_text(comment, _MAX_COMMENT),
        user=sanitize_text(user, MAX_TEXT),
        created_at=now,
    )
    session.add(review)
    return review
