"""Patients: whose images they are, by PatientID, its issuer and, where that is not enough, name, birth date and sex."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.grouping.traits import is_numbering

PatientKey: TypeAlias = tuple[str | None, str | None, str | None]
"""PatientID, its issuer, and the hash of name, birth date and sex; None where it is unknown or not needed."""


def patient_keys(headers: Sequence[SliceHeader]) -> list[PatientKey]:
    """Return a key for each image of one study UID, equal for the images of one patient.

    Images without PatientID or issuer belong to the one patient of the study that they do not contradict. Where the
    study UID is blank, an image without PatientID belongs to none of those that have one.

    Parameters
    ----------
    headers : sequence of SliceHeader
        Images of one StudyInstanceUID, which may be blank, or that of images of several patients.

    Returns
    -------
    list of PatientKey
        It is personal: never store or log it.
    """
    has_uid = bool(headers[0].study_instance_uid)
    demographics: list[str | None] = [header.demographics for header in headers]
    if is_numbering(demographics):
        demographics = [None] * len(headers)
    keys = [_key(header, each, has_uid=has_uid) for header, each in zip(headers, demographics, strict=True)]
    known: dict[PatientKey, set[str | None]] = defaultdict(set)
    for key, each in zip(keys, demographics, strict=True):
        known[key].add(each)
    patient_of: dict[PatientKey, PatientKey] = {}
    by_id: dict[str | None, set[PatientKey]] = defaultdict(set)  # patients; all of them under None
    for key in sorted(set(keys), key=lambda key: (key.count(None), str(key))):
        fitting = [other for other in by_id[key[0]] if _fits(key, other, known[other])]
        patient_of[key] = fitting[0] if len(fitting) == 1 else key
        by_id[key[0]].add(patient_of[key])
        by_id[None].add(patient_of[key])
    return [patient_of[key] for key in keys]


def _key(header: SliceHeader, demographics: str | None, *, has_uid: bool) -> PatientKey:
    patient_id = (header.patient_id or "").strip() or None
    issuer = (header.issuer_of_patient_id or "").strip() or None
    if has_uid:
        return patient_id, issuer, None if patient_id else demographics
    return patient_id or "", issuer, demographics


def _fits(key: PatientKey, other: PatientKey, demographics: AbstractSet[str | None]) -> bool:
    """Return whether a key with unknown parts may be that of a known patient with these demographics."""
    return (
        key[0] in {None, other[0]}
        and key[1] in {None, other[1]}
        and (key[2] in {None, other[2]} or key[2] in demographics)
    )
