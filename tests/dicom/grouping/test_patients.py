"""Images of two patients never share a study, whatever their UIDs."""

from pathlib import Path

import pytest
from tests.support.dicom import write_series
from tests.support.dicom_mix import HU, Change, series_of, stacks_of, tags, write_mixed

from cspine.dicom import discover
from cspine.dicom.study_collection import open_collection

BLANK = {"StudyInstanceUID": "", "SeriesInstanceUID": ""}
TWO = {
    "ids-blank-uids": (tags(PatientID="1", **BLANK), tags(PatientID="2", **BLANK)),
    "ids-equal-uids": (tags(PatientID="1"), tags(PatientID="2")),
    "issuers": (tags(IssuerOfPatientID="A"), tags(IssuerOfPatientID="B")),
    "issuers-blank-uids": (tags(IssuerOfPatientID="A", **BLANK), tags(IssuerOfPatientID="B", **BLANK)),
    "names-without-ids": (tags(PatientID="", PatientName="A"), tags(PatientID=None, PatientName="B")),
    "names-blank-uids": (tags(PatientName="A", **BLANK), tags(PatientName="B", **BLANK)),
    "birth-dates-blank-uids": (tags(PatientBirthDate="19700101", **BLANK), tags(PatientBirthDate="19800101", **BLANK)),
}
ONE = {
    "blanks": (tags(PatientID="7 "), tags(PatientID=" 7")),
    "issuer-in-part": (tags(IssuerOfPatientID="A"), tags()),
    "id-in-part": (tags(), tags(PatientID=None)),
    "name-written-otherwise": (tags(PatientName="Some^Body"), tags(PatientName="SOME BODY")),
}


@pytest.mark.parametrize("changes", TWO.values(), ids=TWO)
def test_two_patients_are_two_studies(tmp_path: Path, changes: tuple[Change, Change]) -> None:
    write_mixed(tmp_path, *changes)

    assert len(discover(tmp_path).studies) == 2
    assert stacks_of(tmp_path) == [0, 1]


@pytest.mark.parametrize("changes", ONE.values(), ids=ONE)
def test_one_patient_written_differently_is_one_study(tmp_path: Path, changes: tuple[Change, Change]) -> None:
    write_series(tmp_path, HU, change=lambda dataset, k: changes[k % 2](dataset, k))

    (series,) = series_of(tmp_path)
    assert len(series.headers) == 12


def test_two_patients_of_one_study_uid_have_names_of_their_own(tmp_path: Path) -> None:
    write_mixed(tmp_path, tags(PatientID="1", StudyInstanceUID="1.5"), tags(PatientID="2", StudyInstanceUID="1.5"))

    sources = open_collection(tmp_path).studies

    assert [source.study_instance_uid for source in sources] == ["1.5", "1.5-2"]
    assert [source.open().study_instance_uid for source in sources] == ["1.5", "1.5"]
