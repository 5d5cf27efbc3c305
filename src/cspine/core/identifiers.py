"""Names that are safe to show and to write: folder names of studies, pseudonyms of patients, derived UIDs."""

import hashlib
import re
import uuid
from typing import Final

_SAFE_UID: Final = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")
"""A UID that is a folder's name on every system; Windows drops dots at its end."""


def study_key(uid: str) -> str:
    """Return a folder name for a study: its UID, or a hash where the UID is not one and might lead elsewhere.

    >>> study_key("1.2.3")
    '1.2.3'
    >>> study_key("../../etc")
    'study-74ccf3c5b4c1'
    >>> study_key("1.2.3.") == study_key("1.2.3")
    False
    """
    if _SAFE_UID.fullmatch(uid):
        return uid
    return f"study-{_sha256(uid)[:12]}"


def pseudonym(patient_id: str | None, study_uid: str) -> str:
    """Return a stand-in that is the same for all studies of a patient; PatientID itself is never stored."""
    return _sha256(f"cspine patient {patient_id or study_uid}")[:16]


def derived_uid(*parts: str) -> str:
    """Return a DICOM UID that is a function of its parts (PS3.5, annex B.2: 2.25 and a UUID as an integer).

    >>> derived_uid("report", "1.2.3")
    '2.25.298571193792295026815909818790103379599'
    >>> derived_uid("report", "1.2.3") == derived_uid("report1.2.3")
    False
    """
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _sha256(text: str) -> str:
    """Return the hash of text that may be the name of a file in another encoding than UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
