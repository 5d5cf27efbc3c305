"""The same answer replaces itself; a changed answer rejects what it supersedes, and nothing else."""

import pickle
import zipfile
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, KeyObjectSelectionDocumentStorage
from tests.support.dciodvfy import DCIODVFY, errors_of

from cspine.classification.result import CaseResult
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.reports.dicom.objects import DicomOptions, dicom_objects, write_dicom
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages, source_images
from cspine.reports.dicom.superseded import EarlierObjects, rejection_notes


@pytest.fixture(scope="session")
def changed(case_result: CaseResult) -> CaseResult:
    """The result with another setting."""
    return replace(case_result, findings=case_result.findings.model_copy(update={"test_time_augmentation": True}))


@pytest.fixture(scope="session")
def source(case_result: CaseResult) -> SourceImages:
    assert case_result.compiled is not None
    return source_images(case_result.compiled.series)


def context_of(case_result: CaseResult, source: SourceImages) -> ReportContext:
    return ReportContext.of(case_result, source, datetime.now(UTC))


def content(dataset: Dataset) -> bytes:
    """Return an object as it is written, without times."""
    copy = deepcopy(dataset)
    for keyword in [element.keyword for element in copy if element.keyword.endswith(("Date", "Time"))]:
        delattr(copy, keyword)
    for keyword in ("ContributingEquipmentSequence", "TimeOfSecondaryCapture", "DateOfSecondaryCapture"):
        copy.pop(keyword, None)
    file = BytesIO()
    copy.save_as(file, enforce_file_format=True)
    return file.getvalue()


def listed(note: Dataset) -> set[str]:
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }


def test_the_same_result_is_the_same_objects(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    again = dicom_objects(case_result)

    assert set(again) == set(written)
    for name, dataset in again.items():
        assert dataset.SOPInstanceUID == written[name].SOPInstanceUID
        assert dataset.SeriesInstanceUID == written[name].SeriesInstanceUID
        assert content(dataset) == content(written[name])


def test_a_changed_answer_in_the_same_folder_comes_with_a_rejection_note(
    changed: CaseResult, written: dict[str, Dataset], tmp_path: Path
) -> None:
    for name, dataset in written.items():
        (tmp_path / name).write_bytes(Path(str(dataset.filename)).read_bytes())

    paths = write_dicom(changed, tmp_path)

    objects = {path.name: pydicom.dcmread(path) for path in paths}
    (name,) = set(objects) - set(written)
    note, report = objects.pop(name), objects["report.dcm"]
    assert not (DCIODVFY and errors_of(tmp_path / name))
    assert note.SOPClassUID == KeyObjectSelectionDocumentStorage
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert listed(note) == {dataset.SOPInstanceUID for dataset in written.values()}
    assert listed(note).isdisjoint(dataset.SOPInstanceUID for dataset in objects.values())
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == written["report.dcm"].SOPInstanceUID
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_what_was_rejected_does_not_come_back_under_its_uid(
    case_result: CaseResult, changed: CaseResult, source: SourceImages, written: dict[str, Dataset], tmp_path: Path
) -> None:
    with suppress_pydicom_warnings():  # the phantom's name has one component
        (note,) = rejection_notes(context_of(changed, source), source, list(written.values()))
    note.save_as(tmp_path / "rejected.dcm", enforce_file_format=True)
    for name in ("report.dcm", "summary.dcm"):  # the archive still has them
        (tmp_path / name).write_bytes(Path(str(written[name].filename)).read_bytes())

    earlier = EarlierObjects.read([tmp_path])[written["report.dcm"].StudyInstanceUID]
    context = earlier.current(context_of(case_result, source), source)

    assert context.revision == 1
    assert context.uid("report") != context_of(case_result, source).uid("report")
    assert earlier.current(context_of(changed, source), source).revision == 0
    assert earlier.superseded_by(context) == ()  # no rejected object is rejected twice


def test_objects_of_another_patient_were_filed_wrongly(
    changed: CaseResult, source: SourceImages, written: dict[str, Dataset]
) -> None:
    other = deepcopy(written["summary.dcm"])
    other.PatientID = "another"

    with suppress_pydicom_warnings():
        notes = rejection_notes(context_of(changed, source), source, [other, written["saliency.dcm"]])

    assert [note.ConceptNameCodeSequence[0].CodeValue for note in notes] == ["113037", "113038"]
    assert listed(notes[1]) == {other.SOPInstanceUID}
    assert notes[1].PatientID == "another"
    assert len({note.SOPInstanceUID for note in notes}) == 2


def test_a_corrected_patient_gets_objects_of_its_own_and_rejects_those_of_the_other(
    case_result: CaseResult, source: SourceImages, written: dict[str, Dataset], tmp_path: Path
) -> None:
    for name in ("report.dcm", "summary.dcm"):
        other = pydicom.dcmread(str(written[name].filename))
        other.PatientID = "another"
        other.save_as(tmp_path / name)

    objects = dicom_objects(case_result, DicomOptions(supersedes=(tmp_path,)))

    (note,) = [dataset for name, dataset in objects.items() if name.startswith("rejected-")]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    assert listed(note) == {written["report.dcm"].SOPInstanceUID, written["summary.dcm"].SOPInstanceUID}
    assert listed(note).isdisjoint(dataset.SOPInstanceUID for dataset in objects.values())
    assert objects["report.dcm"].PatientID == source.first.PatientID
    assert "PredecessorDocumentsSequence" not in objects["report.dcm"]


def test_only_own_objects_are_read_whatever_their_names_and_places(written: dict[str, Dataset], tmp_path: Path) -> None:
    report, summary, marks, saliency = (
        Path(str(written[f"{name}.dcm"].filename)) for name in ("report", "summary", "marks", "saliency")
    )
    foreign, elsewhere = pydicom.dcmread(summary), pydicom.dcmread(saliency)
    foreign.Manufacturer, elsewhere.StudyInstanceUID = "somebody", "1.2.3"
    foreign.save_as(tmp_path / "foreign.dcm")
    elsewhere.save_as(tmp_path / "elsewhere.dcm")
    (tmp_path / "damaged.dcm").write_bytes(summary.read_bytes()[:200])
    (tmp_path / "text.dcm").write_text("no DICOM")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "IM000001").write_bytes(report.read_bytes())
    (tmp_path / ".hidden.dcm").write_bytes(summary.read_bytes())
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(marks, "DICOM/000002")

    earlier = EarlierObjects.read([tmp_path, tmp_path / "deep", tmp_path / "missing"])

    assert set(earlier) == {"1.2.3", written["report.dcm"].StudyInstanceUID}
    results = earlier[written["report.dcm"].StudyInstanceUID].results
    assert {dataset.SOPInstanceUID for dataset in results} == {
        written[name].SOPInstanceUID for name in ("report.dcm", "marks.dcm")
    }
    assert len(results) == 2
    assert all("ContentSequence" not in dataset for dataset in results)
    assert pickle.loads(pickle.dumps(earlier)) == earlier


@pytest.mark.parametrize(
    ("issuer", "earlier_issuer", "code"),
    [("A", "B", "113038"), ("A", "A", "113037"), ("A", None, "113037"), (None, "B", "113037")],
)
def test_an_id_of_another_issuer_is_that_of_another_patient(
    issuer: str | None,
    earlier_issuer: str | None,
    code: str,
    changed: CaseResult,
    source: SourceImages,
    written: dict[str, Dataset],
) -> None:
    first, earlier = deepcopy(source.first), deepcopy(written["summary.dcm"])
    for dataset, name in ((first, issuer), (earlier, earlier_issuer)):
        dataset.IssuerOfPatientID = name
    slices = replace(source, datasets=(first, *source.datasets[1:]))

    with suppress_pydicom_warnings():
        (note,) = rejection_notes(context_of(changed, source), slices, [earlier])

    assert note.ConceptNameCodeSequence[0].CodeValue == code


@pytest.mark.parametrize("n_written", [0, 1, 2])
def test_a_run_that_was_killed_keeps_the_predecessor(
    n_written: int, changed: CaseResult, written: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The end of the process."""

    for name, dataset in written.items():
        (tmp_path / name).write_bytes(Path(str(dataset.filename)).read_bytes())
    save_as, names = Dataset.save_as, list[str]()

    def save(dataset: Dataset, path: Path, **options: Any) -> None:
        if len(names) == n_written:
            raise Killed
        names.append(str(dataset.SOPClassUID))
        save_as(dataset, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "save_as", save)
        with pytest.raises(Killed):
            write_dicom(changed, tmp_path)
    assert names == [KeyObjectSelectionDocumentStorage, Comprehensive3DSRStorage][:n_written]  # the note comes first

    paths = write_dicom(changed, tmp_path)

    assert "report.dcm" in {path.name for path in paths}
    (study,) = pydicom.dcmread(tmp_path / "report.dcm").PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == written["report.dcm"].SOPInstanceUID
    notes = [pydicom.dcmread(path) for path in tmp_path.glob("rejected-*.dcm")]
    assert listed(notes[0]).union(*map(listed, notes)) == {dataset.SOPInstanceUID for dataset in written.values()}
