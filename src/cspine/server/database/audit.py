"""The audit log: who did what, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from cspine.core.text import sanitize_text
from cspine.server.database.tables import MAX_TEXT, AuditEntry

_MAX_DETAIL: Final = 1000


def record_audit(
    session: Session, actor: str, action: str, subject: str = "", detail: str = "", *, now: datetime
) -> None:
    """Add an entry to the audit log.

    Parameters
    ----------
    session : Session
        The transaction of the action itself.
    actor : str
        Name of a token or user, AE title, or ``server``.
    action : str
        A verb and its object, such as ``study.rerun``.
    subject : str
        Key or number of the record; never a name or an identifier of a patient.
    detail : str
        More facts, equally without names.
    now : datetime
        The time.
    """
    session.add(
        AuditEntry(
            at=now,
            actor=sanitize_text(actor, MAX_TEXT),
            action=action,
            subject=sanitize_text(subject, MAX_TEXT),
            detail=sanitize_text(detail, _MAX_DETAIL),
        )
    )
