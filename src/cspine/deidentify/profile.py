"""The Basic Application Level Confidentiality Profile of PS3.15, annex E, applied to one data set of a CT image.

Attributes are treated by table E.1-1 of the standard, as published by dicom-anonymizer. Attributes that the table does
not name are retained only if they cannot identify a person: codes, numbers, geometry, and some texts about the scanner.
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
from pydicom.valuerep import DSfloat

from cspine.deidentify.identity import find_personal_words, holds_word, identify_patient, text_of, texts_of
from cspine.deidentify.key import PseudonymKey

Dates = Literal["remove", "shift"]
Action = Literal["remove", "empty", "dummy", "uid"]

TABLE: Final = "PS3.15 table E.1-1 of 2026c"
"""The edition of the table, as recorded in de-identified images."""

UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""The UIDs that identify an image; they are always replaced, whatever their value in the file."""

_MASKED_LENGTH: Final = 4
"""Length of a table entry with masks: group, element, and a bit mask of each."""

_DUMMY_TEXT: Final = "REMOVED"
_DUMMIES: Final = {
    "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "http://removed.invalid",
    "DS": "0", "IS": "0",
}  # fmt: skip
_FREE_VRS: Final = frozenset({
    "AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UN", "UR", "UT",
    "OB", "OD", "OF", "OL", "OV", "OW",
})  # fmt: skip
"""VRs of values that may be personal: attributes that the table does not name are retained if listed below only."""

_TEXT_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_NUMERIC_VRS: Final = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})

_BASIC: Final = ("113100", "Basic Application Confidentiality Profile")
_MODIFIED_DATES: Final = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")

_CURVE_AND_OVERLAY_GROUPS: Final = frozenset({*range(0x5000, 0x5100), *range(0x6000, 0x6100)})


def _tags_of(*keywords: str) -> frozenset[int]:
    return frozenset(tag for tag in map(tag_for_keyword, keywords) if tag is not None)


_RETAINED_TAGS: Final = _tags_of(
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "FilterType", "RescaleType",
    "WindowCenterWidthExplanation", "LUTExplanation", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion",
    "CodeMeaning", "LongCodeValue", "SpecificCharacterSet", "DerivationDescription", "LUTData", "PixelData",
)  # fmt: skip
"""Texts and bytes about scanner and image that are retained where the table does not name them."""

_IMAGE_TAGS: Final = _tags_of(
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope",
    "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
)  # fmt: skip
"""Attributes without which the pixels are others; some writers give them another VR than the dictionary."""

_DEFINED_TAGS: Final = _IMAGE_TAGS | _tags_of("SpecificCharacterSet", "Modality", "PatientPosition", "RescaleType")
"""Attributes with defined terms that must stay, even if a patient is called like one."""

_PHOTOMETRIC_INTERPRETATIONS: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})

_SHIFTABLE_TAGS: Final = _tags_of(
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate", "AcquisitionDateTime",
    "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime",
)  # fmt: skip
"""Dates and times of the scan. The birth date is not among them: shifted alike, it would reveal the age in days."""

_VALID_PATTERNS: Final = {
    "DA": re.compile(r"\d{8}"),
    "DT": re.compile(r"\d{8}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
}


@dataclass(frozen=True)
class ConfidentialityProfile:
    """The options of de-identification.

    Attributes
    ----------
    key : PseudonymKey
        Secret for pseudonyms, UIDs and date shifts.
    dates : str
        'remove' as in the basic profile, or 'shift' the dates of the scan and retain its times of day.
    shift_days : int or None
        Number of days to shift all dates by; None uses the key's number for each patient.
    """

    key: PseudonymKey
    dates: Dates = "remove"
    shift_days: int | None = None

    def apply(self, dataset: Dataset, *, uid_fallback: str = "") -> None:
        """De-identify a data set in place, including nested sequences.

        PatientID and PatientName become a pseudonym. UIDs are replaced consistently, including those that are not
        registered by the standard. Private attributes, curves and overlays are removed. Pixels are not changed.

        Parameters
        ----------
        dataset : Dataset
            The data set to change.
        uid_fallback : str
            Name of the file with its folder, from which missing UIDs are derived: of the image from the name, of study
            and series from the folder, since their images share them.
        """
        folder = uid_fallback.rpartition("/")[0]
        patient = identify_patient(dataset) or text_of(dataset, "StudyInstanceUID") or folder
        days = self.shift_days if self.shift_days is not None else self.key.date_shift_days(patient)
        study = f"{patient} {text_of(dataset, 'StudyDate')} {folder}"
        fallbacks = (study, f"{study} {text_of(dataset, 'SeriesNumber')}", uid_fallback)
        new_uids = {
            keyword: self.key.replace_uid(text_of(dataset, keyword) or f"{keyword} {fallback}")
            for keyword, fallback in zip(UIDS, fallbacks, strict=True)
        }
        self._deidentify(dataset, days, find_personal_words(dataset))
        for keyword, uid in new_uids.items():
            dataset.pop(keyword, None)
            setattr(dataset, keyword, uid)
        for keyword in ("PatientID", "PatientName"):
            dataset.pop(keyword, None)
            setattr(dataset, keyword, self.key.pseudonym(patient))
        dataset.PatientIdentityRemoved = "YES"
        methods = [_BASIC, *([_MODIFIED_DATES] if self.dates == "shift" else [])]
        dataset.DeidentificationMethod = [f"cspine, {TABLE}", *(meaning[:64] for _, meaning in methods)]
        dataset.DeidentificationMethodCodeSequence = [_code(*method) for method in methods]
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if self.dates == "shift" else "REMOVED"

    def _deidentify(self, dataset: Dataset, days: int, words: frozenset[str]) -> None:
        """Remove or replace the attributes of a data set or sequence item, shifting dates by `days`.

        Values that would be retained are removed if they hold one of the personal `words`.
        """
        for tag in list(dataset.keys()):
            element = _with_dictionary_vr(dataset[tag])
            dataset[tag] = element
            if not _is_standard_element(element) or element.tag.group in _CURVE_AND_OVERLAY_GROUPS:
                del dataset[tag]
                continue
            action = find_action(element.tag.group, element.tag.element)
            if self.dates == "shift" and element.tag in _SHIFTABLE_TAGS:
                _shift_dates(element, days)
            elif action == "remove" or (
                action is None and element.VR in _FREE_VRS and element.tag not in _RETAINED_TAGS
            ):
                del dataset[tag]
            elif element.VR == "SQ":
                if action == "dummy":
                    del dataset[tag]
                elif action == "empty":
                    element.value = Sequence()
                else:
                    for item in element.value:
                        self._deidentify(item, days, words)
            elif element.VR == "UI":
                self._replace_uids(element)
            elif action is not None:
                _replace_value(element, action)
            elif words and element.VR in _TEXT_VRS and element.tag not in _DEFINED_TAGS:
                _remove_personal_values(dataset, element, words)

    def _replace_uids(self, element: DataElement) -> None:
        """Replace UIDs that the standard does not register; those of classes and transfer syntaxes stay."""
        values = texts_of(element)
        _set_values(
            element,
            [value if not value or _is_standard_uid(value) else self.key.replace_uid(value) for value in values],
        )


def _remove_personal_values(dataset: Dataset, element: DataElement, words: frozenset[str]) -> None:
    """Remove the values of an element that hold a personal word, and the element if no value is left."""
    values = texts_of(element)
    kept = [value for value in values if not holds_word(value, words)]
    if not kept:
        del dataset[element.tag]
    elif len(kept) < len(values):
        element.value = kept


def _set_values(element: DataElement, values: list[str]) -> None:
    element.value = values if element.VM > 1 else values[0]


def _with_dictionary_vr(element: DataElement) -> DataElement:
    """Return an attribute of the image with the dictionary's VR if it has another one; other elements unchanged."""
    if element.tag not in _IMAGE_TAGS or _is_standard_element(element):
        return element
    vr, texts = dictionary_VR(element.tag), texts_of(element)
    if vr == "CS":
        return DataElement(element.tag, vr, texts[0]) if texts[0] in _PHOTOMETRIC_INTERPRETATIONS else element
    try:
        numbers = [float(text) for text in texts]
        if vr == "DS":
            return DataElement(element.tag, vr, [DSfloat(number, auto_format=True) for number in numbers])
        integers = [int(number) for number in numbers]
    except (ValueError, OverflowError):
        return element
    return DataElement(element.tag, ("SS" if min(integers) < 0 else "US") if " or " in vr else vr, integers)


def _is_standard_uid(uid: str) -> bool:
    return re.fullmatch(RE_VALID_UID, uid) is not None and bool(UID(uid).type)


def _is_standard_element(element: DataElement) -> bool:
    """Return whether the DICOM dictionary has an attribute with this VR; with another VR, the table may not apply."""
    if element.tag.is_private:
        return False
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return False
    return str(element.VR) in known.split(" or ")


@cache
def find_action(group: int, element: int) -> Action | None:
    """Return the table's action for an attribute.

    Where the table leaves a choice that depends on the type of the attribute in an object, values are replaced by
    dummies, or emptied if they may be empty.

    Parameters
    ----------
    group, element : int
        Tag of the attribute.

    Returns
    -------
    str or None
        'remove', 'empty', 'dummy' or 'uid'; None if the table does not name the attribute.
    """
    for action, tags in _ACTIONS:
        for tag in tags:
            if len(tag) == _MASKED_LENGTH:
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


def _replace_value(element: DataElement, action: Action) -> None:
    """Empty a value, or replace it by a dummy of its VR."""
    if action == "empty":
        element.value = None if element.VR in _NUMERIC_VRS else ""
    elif element.VR in _TEXT_VRS:
        element.value = _DUMMY_TEXT
    elif element.VR in _DUMMIES:
        element.value = _DUMMIES[element.VR]
    elif element.VR in _NUMERIC_VRS:
        element.value = 0
    else:
        element.value = b"\0\0"


def _shift_dates(element: DataElement, days: int) -> None:
    """Shift dates and retain times of day; values that are not valid dates or times are emptied."""
    pattern = _VALID_PATTERNS[str(element.VR)]
    values = [value if pattern.fullmatch(value) else "" for value in texts_of(element)]
    _set_values(element, values if element.VR == "TM" else [shift_date(value, days) for value in values])


def shift_date(text: str, days: int) -> str:
    """Shift a date, which may be followed by a time of day.

    Parameters
    ----------
    text : str
        Value of VR DA or DT.
    days : int
        Number of days to add.

    Returns
    -------
    str
        The shifted value; empty if `text` is not a date.

    Examples
    --------
    >>> shift_date("20240301", -1), shift_date("20240301101500.5", 366), shift_date("20249999", 1)
    ('20240229', '20250302101500.5', '')
    """
    try:
        date = datetime.strptime(text[:8], "%Y%m%d") + timedelta(days=days)  # noqa: DTZ007 - a day, not a moment
    except (ValueError, OverflowError):
        return ""
    return f"{date:%Y%m%d}{text[8:]}"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
