"""What handlers read of the database: studies, and the job that is the answer of each."""

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cspine.server.database.studies import find_study
from cspine.server.database.tables import Job, Study
from cspine.server.web.dicomweb.contents import StudyVersion
from cspine.server.web.errors import HttpError

_KEY: Final = re.compile(r"[0-9a-f]{32}")
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID_LENGTH: Final = 64


def get_study(session: Session, key: str, *, lock: bool = False) -> Study:
    """Return the study with a key; with `lock`, others cannot change it before the transaction ends.

    Raises
    ------
    HttpError
        404: there is none.
    """
    study = find_study(session, key, lock=lock) if _KEY.fullmatch(key) else None
    if study is None:
        raise HttpError(404, "there is no such study; it may have been removed")
    return study


def current_job(session: Session, study: Study) -> Job | None:
    """Return the last job of a study, whatever its state; None where it has none yet."""
    return session.scalar(select(Job).where(Job.study_id == study.id).order_by(Job.id.desc()).limit(1))


def answer_of(session: Session, study: Study) -> Job | None:
    """Return the last job of a study that has results; None where none has."""
    query = select(Job).where(Job.study_id == study.id, Job.result_folder != "").order_by(Job.id.desc())
    return session.scalar(query.limit(1))


def version_of(session: Session, study: Study) -> StudyVersion:
    """Return the state of a study that viewers are shown."""
    answer = answer_of(session, study)
    return StudyVersion(
        study.key, study.study_instance_uid, study.received_generation, answer.result_folder if answer else ""
    )


def versions_with_uid(session: Session, study_instance_uid: str) -> Sequence[StudyVersion]:
    """Return the studies with a UID: one, unless two patients have studies with the same.

    Raises
    ------
    HttpError
        404: there is none. 400: it is no UID.
    """
    check_uid(study_instance_uid)
    studies = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid).order_by(Study.id))
    versions = [version_of(session, study) for study in studies]
    if not versions:
        raise HttpError(404, "there is no study with this UID; it may have been removed")
    return versions


def check_uid(uid: str) -> None:
    """Reject what is no UID.

    Raises
    ------
    HttpError
        400.
    """
    if len(uid) > _MAX_UID_LENGTH or _UID.fullmatch(uid) is None:
        raise HttpError(400, "the address holds something that is no UID; correct it")
