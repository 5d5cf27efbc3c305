"""PS3.15 annex E, the basic application level confidentiality profile, on one data set.

Which attribute is dealt with how is the standard's table E.1-1, as dicom-anonymizer keeps it.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Literal

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.uid import UID

from cspine.deidentify.key import Key

Dates = Literal["remove", "shift"]
Action = Literal["remove", "empty", "dummy", "uid"]

TABLE: Final = "PS3.15 table E.1-1 of 2026c"

_MASKED: Final = 4
_DUMMY_TEXT: Final = "REMOVED"
_DUMMIES: Final = {
    "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "http://removed.invalid",
    "DS": "0", "IS": "0",
}  # fmt: skip
_TEXT: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_NUMBERS: Final = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})

_BASIC: Final = ("113100", "Basic Application Confidentiality Profile")
_MODIFIED_DATES: Final = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")

_DATE: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(.*)", re.DOTALL)

_KEPT_TIMES: Final = frozenset({"DA", "DT", "TM"})


@dataclass(frozen=True)
class Profile:
    """How data sets are freed of their patients.

    Attributes
    ----------
    key : Key
        For pseudonyms and UIDs.
    dates : str
        'remove' as the basic profile has it; 'shift' moves each patient's dates by as many days, and keeps times.
    shift_days : int or None
        By how many, the same for all; each patient's own number of the key where None.
    """

    key: Key
    dates: Dates = "remove"
    shift_days: int | None = None

    def apply(self, dataset: Dataset) -> None:
        """Free a data set, sequences within it too, of what tells who the patient is.

        Patient's ID and name become a pseudonym; UIDs are replaced, consistently, and so is every UID that is none of
        the standard's; private attributes, curves and overlays go. Pixels stay as they are.
        """
        patient = str(dataset.get("PatientID") or dataset.get("PatientName") or dataset.get("StudyInstanceUID") or "")
        days = self.shift_days if self.shift_days is not None else self.key.days(patient)
        self._free(dataset, days)
        dataset.PatientID = dataset.PatientName = self.key.pseudonym(patient)
        dataset.PatientIdentityRemoved = "YES"
        told = [_BASIC, *([_MODIFIED_DATES] if self.dates == "shift" else [])]
        dataset.DeidentificationMethod = [f"cspine, {TABLE}", *(meaning[:64] for _, meaning in told)]
        dataset.DeidentificationMethodCodeSequence = [_code(*each) for each in told]
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if self.dates == "shift" else "REMOVED"

    def _free(self, dataset: Dataset, days: int) -> None:
        for tag in list(dataset.keys()):
            element = dataset[tag]
            if element.tag.is_private:
                del dataset[tag]
                continue
            action = action_of(element.tag.group, element.tag.element)
            if self.dates == "shift" and element.VR in _KEPT_TIMES and action is not None:
                _shift(element, days)
            elif action == "remove":
                del dataset[tag]
            elif element.VR == "SQ":
                self._sequence(element, action, days)
            elif element.VR == "UI":
                self._uids(element)
            elif action is not None:
                _replace(element, action)
            elif element.VR == "PN":
                element.value = ""  # whatever the table forgets

    def _sequence(self, element: DataElement, action: Action | None, days: int) -> None:
        if action == "empty":
            element.value = Sequence()
            return
        for item in element.value:
            self._free(item, days)

    def _uids(self, element: DataElement) -> None:
        """Replace UIDs that are not the standard's own, such as those of classes and transfer syntaxes."""
        values = element.value if element.VM > 1 else [element.value]
        new = [value if not value or UID(value).type else UID(self.key.uid(str(value))) for value in values]
        element.value = new if element.VM > 1 else new[0]


@cache
def action_of(group: int, element: int) -> Action | None:
    """Return what the profile does to an attribute; None where it stays as it is.

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
    """Move dates; times of day stay."""
    if element.VR == "TM" or not element.value:
        return
    values = element.value if element.VM > 1 else [element.value]
    moved = [_moved(str(value), days) for value in values]
    element.value = moved if element.VM > 1 else moved[0]


def _moved(text: str, days: int) -> str:
    """Return a date, or a date with a time behind it, moved; empty where it is none.

    >>> _moved("20240301", -1), _moved("20240301101500.5", 366), _moved("soon", 1)
    ('20240229', '20250302101500.5', '')
    """
    found = _DATE.match(text.strip())
    if found is None:
        return ""
    year, month, day, rest = found.groups()
    try:
        moved = datetime(int(year), int(month), int(day)) + timedelta(days=days)  # noqa: DTZ001 - a day, not a moment
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}{rest}"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
