"""PS3.15 annex E, the basic application level confidentiality profile, on one data set of a CT image.

What is done to an attribute is the standard's table E.1-1, as dicom-anonymizer keeps it. What the table does not name
stays only where it cannot tell a person: codes, numbers and geometry, and a few texts about the scanner.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Literal

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.uid import RE_VALID_UID, UID

from cspine.deidentify.key import Key

Dates = Literal["remove", "shift"]
Action = Literal["remove", "empty", "dummy", "uid"]

TABLE: Final = "PS3.15 table E.1-1 of 2026c"

UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""What names an image; always replaced, whatever a file puts there."""

_MASKED: Final = 4
_DUMMY_TEXT: Final = "REMOVED"
_DUMMIES: Final = {
    "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "http://removed.invalid",
    "DS": "0", "IS": "0",
}  # fmt: skip
_WORDS: Final = frozenset({"AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UN", "UR", "UT"})
"""Value representations that can hold anything: of what the table does not name they are kept where listed below."""

_TEXT: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_NUMBERS: Final = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})

_BASIC: Final = ("113100", "Basic Application Confidentiality Profile")
_MODIFIED_DATES: Final = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")

_CURVES_AND_OVERLAYS: Final = frozenset({*range(0x5000, 0x5100), *range(0x6000, 0x6100)})


def _tags(*keywords: str) -> frozenset[int]:
    return frozenset(tag for tag in map(tag_for_keyword, keywords) if tag is not None)


_KEPT: Final = _tags(
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "FilterType", "RescaleType",
    "WindowCenterWidthExplanation", "LUTExplanation", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion",
    "CodeMeaning", "LongCodeValue", "SpecificCharacterSet", "DerivationDescription",
)  # fmt: skip
"""Texts about scanner and image that are kept where the table does not name them."""

_SHIFTED: Final = _tags(
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate", "AcquisitionDateTime",
    "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime",
)  # fmt: skip
"""Of the scan, never of the person: a birth date that is moved by as many days as the scan still tells the age."""

_VALID: Final = {
    "DA": re.compile(r"\d{8}"),
    "DT": re.compile(r"\d{8}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
}


@dataclass(frozen=True)
class Profile:
    """How data sets are freed of their patients.

    Attributes
    ----------
    key : Key
        For pseudonyms and UIDs.
    dates : str
        'remove' as the basic profile has it; 'shift' moves the scan's dates by as many days, and keeps its times.
    shift_days : int or None
        By how many, the same for all; each patient's own number of the key where None.
    """

    key: Key
    dates: Dates = "remove"
    shift_days: int | None = None

    def apply(self, dataset: Dataset, *, place: str = "") -> None:
        """Free a data set, sequences within it too, of what tells who the patient is.

        Patient's ID and name become a pseudonym; UIDs are replaced, consistently, and so is every UID that is none of
        the standard's; private attributes, curves and overlays go. Pixels stay as they are.

        Parameters
        ----------
        dataset : Dataset
            Is changed.
        place : str
            Of the file: names of UIDs that are missing are made of it.
        """
        patient = str(dataset.get("PatientID") or dataset.get("PatientName") or dataset.get("StudyInstanceUID") or "")
        days = self.shift_days if self.shift_days is not None else self.key.days(patient)
        names = {keyword: self.key.uid(_text(dataset, keyword) or f"{keyword} {place}") for keyword in UIDS}
        self._free(dataset, days)
        for keyword, uid in names.items():
            dataset.pop(keyword, None)
            setattr(dataset, keyword, uid)
        for keyword in ("PatientID", "PatientName"):
            dataset.pop(keyword, None)
            setattr(dataset, keyword, self.key.pseudonym(patient))
        dataset.PatientIdentityRemoved = "YES"
        told = [_BASIC, *([_MODIFIED_DATES] if self.dates == "shift" else [])]
        dataset.DeidentificationMethod = [f"cspine, {TABLE}", *(meaning[:64] for _, meaning in told)]
        dataset.DeidentificationMethodCodeSequence = [_code(*each) for each in told]
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if self.dates == "shift" else "REMOVED"

    def _free(self, dataset: Dataset, days: int) -> None:
        for tag in list(dataset.keys()):
            element = dataset[tag]
            if not _is_known(element) or element.tag.group in _CURVES_AND_OVERLAYS:
                del dataset[tag]
                continue
            action = action_of(element.tag.group, element.tag.element)
            if self.dates == "shift" and element.tag in _SHIFTED:
                _shift(element, days)
            elif action == "remove" or (action is None and element.VR in _WORDS and element.tag not in _KEPT):
                del dataset[tag]
            elif element.VR == "SQ":
                if action == "dummy":
                    del dataset[tag]
                elif action == "empty":
                    element.value = Sequence()
                else:
                    for item in element.value:
                        self._free(item, days)
            elif element.VR == "UI":
                self._uids(element)
            elif action is not None:
                _replace(element, action)

    def _uids(self, element: DataElement) -> None:
        """Replace UIDs that are not the standard's own, such as those of classes and transfer syntaxes."""
        values = [str(value).strip() for value in (element.value if element.VM > 1 else [element.value or ""])]
        new = [value if not value or _is_the_standards(value) else self.key.uid(value) for value in values]
        element.value = new if element.VM > 1 else new[0]


def _text(dataset: Dataset, keyword: str) -> str:
    """Return what a file puts where a UID should be."""
    value = dataset.get(keyword)
    return "" if value is None or isinstance(value, Sequence) else str(value).strip()


def _is_the_standards(uid: str) -> bool:
    return re.fullmatch(RE_VALID_UID, uid) is not None and bool(UID(uid).type)


def _is_known(element: DataElement) -> bool:
    """Tell whether the dictionary has an attribute as the file writes it; another VR may hold what the table misses."""
    if element.tag.is_private:
        return False
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return False
    return str(element.VR) in known.split(" or ")


@cache
def action_of(group: int, element: int) -> Action | None:
    """Return what the table does to an attribute; None where it does not name it.

    Where the table leaves a choice that depends on what an object must have, values are replaced by dummies, and where
    they may be empty, emptied.
    """
    for action, tags in _ACTIONS:
        for tag in tags:
            if len(tag) == _MASKED:
                if (group & tag[2], element & tag[3]) == (tag[0], tag[1]):
                    return action
            elif (group, element) == tag:
                return action
    return None


_ACTIONS: Final[tuple[tuple[Action, frozenset[tuple[int, ...]]], ...]] = (
    ("uid", frozenset(table.U_TAGS)),
    ("remove", frozenset(table.X_TAGS)),
    ("empty", frozenset((*table.Z_TAGS, *table.X_Z_TAGS))),
    ("dummy", frozenset((*table.D_TAGS, *table.Z_D_TAGS, *table.X_D_TAGS, *table.X_Z_D_TAGS))),
    ("uid", frozenset(table.X_Z_U_STAR_TAGS)),
)


def _replace(element: DataElement, action: Action) -> None:
    """Empty a value, or put one in its place that says nothing."""
    if action == "empty":
        element.value = None if element.VR in _NUMBERS else ""
    elif element.VR in _TEXT:
        element.value = _DUMMY_TEXT
    elif element.VR in _DUMMIES:
        element.value = _DUMMIES[element.VR]
    elif element.VR in _NUMBERS:
        element.value = 0
    else:
        element.value = b"\0\0"


def _shift(element: DataElement, days: int) -> None:
    """Move dates; times of day stay. What is no date or time is emptied."""
    values = [str(value).strip() for value in (element.value if element.VM > 1 else [element.value or ""])]
    valid = _VALID[str(element.VR)]
    kept = [value if valid.fullmatch(value) else "" for value in values]
    moved = kept if element.VR == "TM" else [moved_date(value, days) for value in kept]
    element.value = moved if element.VM > 1 else moved[0]


def moved_date(text: str, days: int) -> str:
    """Return a date, or a date with a time behind it, moved; empty where it is none.

    >>> moved_date("20240301", -1), moved_date("20240301101500.5", 366), moved_date("20249999", 1)
    ('20240229', '20250302101500.5', '')
    """
    try:
        moved = datetime.strptime(text[:8], "%Y%m%d") + timedelta(days=days)  # noqa: DTZ007 - a day, not a moment
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}{text[8:]}"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
