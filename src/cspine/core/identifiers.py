"""Names that are safe to show and to write: folder names of studies, pseudonyms of patients."""

import hashlib
import re
from typing import Final

_SAFE_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")


def study_key(uid: str) -> str:
    """Return a folder name for a study: its UID, or a hash where the UID is not one and might lead elsewhere.

    >>> study_key("1.2.3")
    '1.2.3'
    >>> study_key("../../etc")
    'study-74ccf3c5b4c1'
    """
    if _SAFE_UID.fullmatch(uid):
        return uid
    return f"study-{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


def pseudonym(patient_id: str | None, study_uid: str) -> str:
    """Return a stand-in that is the same for all studies of a patient; PatientID itself is never stored."""
    return hashlib.sha256(f"cspine patient {patient_id or study_uid}".encode()).hexdigest()[:16]
