"""Who a patient is: the text behind the pseudonym, and the words by which values are personal."""

import re
import unicodedata
from typing import Final

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

_IDENTIFYING: Final = frozenset({"PatientID", "OtherPatientIDs", "AccessionNumber"})
"""Attributes whose words identify a patient, beside names of persons."""

_DEFINED_VALUES: Final = frozenset({"original", "derived", "primary", "secondary", "axial", "localizer"})
"""Values of ImageType that stay, even if a patient is called like one."""

_MIN_WORD_LENGTH: Final = 3
"""Shorter words, such as initials, cannot be told from codes."""

_MIN_PART_LENGTH: Final = 5
"""Words of this length are looked for within longer words, too."""


def identify_patient(dataset: Dataset) -> str:
    """Return the text that identifies a patient, in the key's digests only: PatientID and its issuer, else the name.

    Blanks around a value and null bytes do not count (PS3.5, section 6.2), nor do empty components at the end of a
    name. Upper and lower case differ, and so do equal PatientIDs of two issuers.

    Parameters
    ----------
    dataset : Dataset
        An image's header.

    Returns
    -------
    str
        Empty if the header names no patient.
    """
    identifier = text_of(dataset, "PatientID")
    if not identifier:
        return text_of(dataset, "PatientName").rstrip("^= ")
    issuer = text_of(dataset, "IssuerOfPatientID")
    for item in dataset.get("IssuerOfPatientIDQualifiersSequence") or ():
        issuer = issuer or text_of(item, "UniversalEntityID")
    return f"{identifier}\0{issuer}" if issuer else identifier


def find_personal_words(dataset: Dataset) -> frozenset[str]:
    """Return the words in names of persons and in numbers of the patient, in lower case.

    Parameters
    ----------
    dataset : Dataset
        An image's header.

    Returns
    -------
    frozenset of str
        Words of at least three characters.
    """
    texts = [text_of(dataset, element.keyword) for element in dataset if _is_identifying(element)]
    return frozenset(word for text in texts for word in _words(text))


def _is_identifying(element: DataElement) -> bool:
    return bool(element.keyword) and (element.VR == "PN" or element.keyword in _IDENTIFYING)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if len(word) >= _MIN_WORD_LENGTH]


def holds_word(text: str, words: frozenset[str]) -> bool:
    """Return whether a text holds one of the words that `find_personal_words` returns."""
    return text.lower() not in _DEFINED_VALUES and any(
        word in words or any(len(part) >= _MIN_PART_LENGTH and part in word for part in words) for word in _words(text)
    )


def texts_of(element: DataElement) -> list[str]:
    """Return the values of an element as texts; an empty one has one empty text."""
    return [_plain(value) for value in (element.value if element.VM > 1 else [element.value or ""])]


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return the value of an attribute as text, whatever its VR in the file; several values with backslashes."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, Sequence):
        return ""
    return "\\".join(map(_plain, value)) if isinstance(value, (MultiValue, list)) else _plain(value)


def _plain(value: object) -> str:
    """Return a value as text without null bytes and without blanks around it."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text.replace("\0", "")).strip()
