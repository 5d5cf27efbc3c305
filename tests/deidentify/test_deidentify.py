"""De-identification removes all personal data and keeps the links between images."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from tests.support.dicom import make_hu, write_series
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import InputError
from cspine.deidentify.key import PseudonymKey
from cspine.deidentify.profile import ConfidentialityProfile, find_action
from cspine.deidentify.study import deidentify
from cspine.dicom import load_volume

HU = make_hu((12, 32, 40), (2.5, 3.0, 3.0))
SECRET = "Geheim^Nis"
KEY = PseudonymKey(b"k" * 32)


def add_personal_data(dataset: Dataset, _: int) -> Dataset:
    """Add personal data to every kind of attribute: standard, private, nested, overlay, unknown, file meta."""
    dataset.PatientName = SECRET
    dataset.PatientID = "4711-Geheim"
    dataset.PatientBirthDate = "19511224"
    dataset.PatientAddress = f"{SECRET} street"
    dataset.OtherPatientIDs = "4711-Geheim"
    dataset.StudyDate, dataset.StudyTime = "20240229", "101500"
    dataset.AcquisitionDateTime = "20240229101501.5"
    dataset.ReferringPhysicianName = SECRET
    dataset.InstitutionName = "Geheim hospital"
    dataset.StudyDescription = "Geheim fell from a horse"
    dataset.AccessionNumber = "4711"
    dataset.DeviceSerialNumber = "Geheim9"
    dataset.FrameOfReferenceUID = "1.2.3.77"
    dataset.ConvolutionKernel, dataset.Manufacturer = "B60f", "Maker"
    block = dataset.private_block(0x0099, "GEHEIM", create=True)
    block.add_new(1, "LO", SECRET)
    inner, reference = Dataset(), Dataset()
    inner.PatientName = inner.PersonName = SECRET
    inner.RequestedProcedureDescription = "Geheim"
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.99"
    dataset.RequestAttributesSequence = Sequence([inner])
    dataset.ReferencedImageSequence = Sequence([reference])
    dataset.add_new((0x6000, 0x3000), "OW", b"GEHEIM")
    dataset.add_new((0x6000, 0x0022), "LO", "Geheim overlay")
    dataset.add_new((0x0012, 0x9999), "LO", "Geheim unknown")
    dataset.add_new((0x0018, 0x9FFE), "UN", b"Geheim unknown")
    dataset.add_new((0x0010, 0x0033), "LO", "Geheim birth date in another calendar")
    dataset.SeriesDate = "20240229"
    dataset.PatientBirthTime = "101501"
    hospital = Dataset()
    hospital.CodeValue, hospital.CodingSchemeDesignator, hospital.CodeMeaning = "1", "99G", "Geheim hospital"
    dataset.InstitutionCodeSequence = Sequence([hospital])
    dataset.RequestedProcedureID, dataset.TextValue = "4711", "Geheim"
    dataset.preamble = b"Geheim^Nis 19511224 4711".ljust(128, b"\0")
    dataset.file_meta.SourceApplicationEntityTitle = "GEHEIM"
    return dataset


def all_texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR != "SQ" and element.keyword != "PixelData":
            yield str(element.value)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "Geheim" / "in"
    write_series(folder, HU, spacing=(2.5, 3.0, 3.0), change=add_personal_data)
    return folder


def read_written(out: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(out.rglob("*.dcm"))]


def test_deidentify_removes_all_personal_data(study: Path, tmp_path: Path) -> None:
    summary = deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY))

    assert (summary.written, summary.patients, summary.studies) == (12, 1, 1)
    for path in (tmp_path / "out").rglob("*"):
        assert "Geheim" not in path.relative_to(tmp_path / "out").as_posix()
        if path.is_file():
            data = path.read_bytes()
            for word in (b"Geheim", b"GEHEIM", b"4711", b"19511224", b"20240229", b"1.2.3.77", b"1.2.3.99"):
                assert word not in data
    for dataset in read_written(tmp_path / "out"):
        assert dataset.PatientName == dataset.PatientID == KEY.pseudonym("4711-Geheim")
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
        assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100"]
        assert not any(element.tag.is_private for element in dataset.iterall())
        assert not any(element.tag.group == 0x6000 for element in dataset)
        assert dataset.SliceThickness == 2.5
        assert dataset.ConvolutionKernel == "B60f"


def test_deidentify_keeps_voxels_and_affine(study: Path, tmp_path: Path) -> None:
    deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY))

    before, after = load_volume(study), load_volume(tmp_path / "out")
    assert (before.array == after.array).all()
    assert (before.affine == after.affine).all()


def test_uids_are_replaced_consistently_with_one_key(study: Path, tmp_path: Path) -> None:
    deidentify(study, tmp_path / "one", ConfidentialityProfile(KEY))
    deidentify(study, tmp_path / "two", ConfidentialityProfile(KEY), workers=2)
    deidentify(study, tmp_path / "other", ConfidentialityProfile(PseudonymKey.generate()))

    names = [
        sorted(path.relative_to(tmp_path / out) for path in (tmp_path / out).rglob("*.dcm"))
        for out in ("one", "two", "other")
    ]
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])
    for dataset in read_written(tmp_path / "one"):
        assert dataset.FrameOfReferenceUID == KEY.replace_uid("1.2.3.77")
        (reference,) = dataset.ReferencedImageSequence
        assert reference.ReferencedSOPInstanceUID == KEY.replace_uid("1.2.3.99")
        assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


@pytest.mark.parametrize(("days", "date"), [(1, "20240301"), (-60, "20231231"), (366, "20250301")])
def test_dates_are_shifted_if_requested(study: Path, tmp_path: Path, days: int, date: str) -> None:
    deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY, "shift", days))

    for dataset in read_written(tmp_path / "out"):
        assert dataset.StudyDate == date
        assert dataset.AcquisitionDateTime == f"{date}101501.5"
        assert dataset.StudyTime == "101500"
        assert dataset.PatientBirthDate == ""  # shifted alike, it would reveal the age in days
        assert "PatientBirthTime" not in dataset
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100", "113107"]


def test_a_uid_with_a_path_does_not_leave_the_output_folder(tmp_path: Path) -> None:
    def add_invalid_values(dataset: Dataset, _: int) -> Dataset:
        del dataset.StudyInstanceUID
        dataset.add_new(0x0020000D, "DA", "20240101/../../../../escaped")
        return dataset

    with pytest.warns(UserWarning, match="DA"):
        write_series(tmp_path / "in", HU[:2], change=add_invalid_values)
    deidentify(tmp_path / "in", tmp_path / "a" / "b" / "out", ConfidentialityProfile(KEY, "shift", 1))

    names = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.dcm")}
    assert names == {"a", "in"}
    for dataset in read_written(tmp_path / "a"):
        assert dataset["StudyInstanceUID"].VR == "UI"
        assert dataset.StudyInstanceUID.startswith("2.25.")


def test_text_after_a_date_is_removed(study: Path, tmp_path: Path) -> None:
    def add_invalid_values(dataset: Dataset, _: int) -> Dataset:
        dataset.add_new(0x00080022, "DA", "20240301 Geheim")
        dataset.add_new(0x00080032, "TM", "Geheim")
        return dataset

    with pytest.warns(UserWarning, match="Invalid value"):
        write_series(study / "more", HU[:2], series="1.2.3.8", change=add_invalid_values)
    deidentify(study / "more", tmp_path / "out", ConfidentialityProfile(KEY, "shift", 1))

    for dataset in read_written(tmp_path / "out"):
        assert (dataset.AcquisitionDate, dataset.AcquisitionTime) == ("", "")


def test_images_with_the_same_uid_are_excluded_and_counted(study: Path, tmp_path: Path) -> None:
    (study / "copy.dcm").write_bytes((study / "1.dcm").read_bytes())

    summary = deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY))

    assert summary.written == len(read_written(tmp_path / "out")) == 12
    assert summary.exclusions == {"the same SOPInstanceUID as another file": 1}


def test_images_with_overlays_in_pixels_are_excluded(study: Path, tmp_path: Path) -> None:
    def overlaid(dataset: Dataset, _: int) -> Dataset:
        dataset.add_new((0x6000, 0x0102), "US", 12)
        return dataset

    write_series(study / "old", HU[:2], series="1.2.3.9", change=overlaid)

    assert deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY)).exclusions == {
        "an overlay lies in unused bits of the pixels": 2
    }


def test_date_shift_differs_between_patients() -> None:
    days = [KEY.date_shift_days(f"patient {number}") for number in range(200)]

    assert len(set(days)) > 180
    assert all(-3650 <= each <= -1 for each in days)
    assert days[0] == KEY.date_shift_days("patient 0")


def test_only_ct_images_are_written(study: Path, tmp_path: Path) -> None:
    def capture(dataset: Dataset, _: int) -> Dataset:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        return dataset

    def screen(dataset: Dataset, _: int) -> Dataset:
        dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
        dataset.BodyPartExamined = "HEAD"
        return dataset

    write_series(study / "capture", HU[:2], series="1.2.3.1", change=capture)
    write_series(study / "screen", HU[:3], series="1.2.3.2", change=screen)
    (study / "letter.txt").write_text("Dear Geheim")
    (study / "cut.dcm").write_bytes((study / "1.dcm").read_bytes()[:-500])
    (study / "short.dcm").write_bytes((study / "1.dcm").read_bytes()[:133])

    result = CliRunner().invoke(app, ["deidentify", str(study), "--out", str(tmp_path / "out"), "--workers", "1"])

    assert result.exit_code == 1
    assert "15 images" in result.stdout
    assert "the same SOPInstanceUID" not in result.stdout
    assert "not CT images, which may hold personal text in pixels or content: 2" in result.stdout
    assert "not DICOM: 1" in result.stdout
    assert "cannot be read: 2" in result.stdout
    assert "3 images declare burned-in text" in result.stderr
    assert "a face can be rebuilt" in result.stderr
    assert "could not be read, first: " in result.stderr
    assert "Geheim" not in result.stdout.replace(str(tmp_path), "")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_key_file_is_private_and_reused(study: Path, tmp_path: Path) -> None:
    first = run("deidentify", study, "--out", tmp_path / "one", "--key", tmp_path / "key", "--workers", 1)
    again = run("deidentify", study, "--out", tmp_path / "two", "--key", tmp_path / "key", "--workers", 1)

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert "keep it apart" in first.stdout
    assert "keep it apart" not in again.stdout
    names = [sorted(path.name for path in (tmp_path / out).rglob("*.dcm")) for out in ("one", "two")]
    assert names[0] == names[1]
    assert (tmp_path / "key").read_text().strip() not in (tmp_path / "one" / "deidentify.json").read_text()


def test_a_file_without_a_key_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")

    with pytest.raises(InputError, match="holds no key"):
        PseudonymKey.load_or_create(tmp_path / "key")


@pytest.mark.parametrize("options", [("--shift-days", 3), ("--dates", "shift", "--shift-days", 0)])
def test_a_shift_without_effect_is_rejected(study: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    assert run("deidentify", study, "--out", tmp_path / "out", *options).exit_code == 2


def test_an_output_folder_within_the_source_is_rejected(study: Path) -> None:
    result = run("deidentify", study, "--out", study / "out")

    assert (result.exit_code, (study / "out").exists()) == (2, False)


def test_a_key_within_the_output_folder_is_rejected(study: Path, tmp_path: Path) -> None:
    result = run("deidentify", study, "--out", tmp_path / "out", "--key", tmp_path / "out" / "key")

    assert result.exit_code == 2
    assert "keep the key apart" in result.stderr


def test_an_output_folder_of_another_key_is_rejected(study: Path, tmp_path: Path) -> None:
    deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY))

    without_key = run("deidentify", study, "--out", tmp_path / "out")
    new_key = run("deidentify", study, "--out", tmp_path / "out", "--key", tmp_path / "new.key")

    assert (without_key.exit_code, new_key.exit_code) == (2, 2)
    assert "choose another --out" in without_key.stderr
    assert not (tmp_path / "new.key").exists()


def test_the_run_folder_does_not_reveal_the_shift(study: Path, tmp_path: Path) -> None:
    deidentify(study, tmp_path / "out", ConfidentialityProfile(KEY, "shift", -1234))

    assert "-1234" not in (tmp_path / "out" / "deidentify.json").read_text()


def test_the_key_does_not_show_its_secret() -> None:
    assert "secret" not in repr(KEY)


def test_actions_are_those_of_the_standard() -> None:
    assert find_action(0x0010, 0x0010) == "empty"  # PatientName
    assert find_action(0x0020, 0x000D) == "uid"  # StudyInstanceUID
    assert find_action(0x0008, 0x1030) == "remove"  # StudyDescription
    assert find_action(0x5012, 0x3000) == "remove"  # curves
    assert find_action(0x6002, 0x3000) == "remove"  # overlays
    assert find_action(0x0028, 0x0010) is None  # Rows
