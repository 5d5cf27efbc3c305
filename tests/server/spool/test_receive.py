"""Objects come into the spool once, durable and recorded, or not at all."""

import errno
import shutil
import stat
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sqlalchemy import select
from tests.support.dicom import STUDY_UID
from tests.support.server import ServerParts, make_parts, write_objects

from cspine.server.database import studies as study_records
from cspine.server.database.engine import utc_now
from cspine.server.database.tables import Study
from cspine.server.errors import RejectedObject, SpoolError
from cspine.server.settings import RetentionSettings
from cspine.server.spool import headers
from cspine.server.spool import receive as receive_module
from cspine.server.spool import reconcile as reconcile_module
from cspine.server.spool.folders import Spool, object_name, storage_key
from cspine.server.spool.receive import count_objects
from cspine.server.spool.reconcile import reconcile_studies
from cspine.server.spool.retention import apply_retention

KEY = storage_key(STUDY_UID, "somebody")


def study_of(parts: ServerParts) -> Study:
    with parts.database.reading() as session:
        return session.scalars(select(Study)).one()


def test_objects_lie_under_names_of_ours_and_are_counted(parts: ServerParts, tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "in")

    received = [parts.receive(path) for path in paths]

    study = study_of(parts)
    files = sorted(parts.spool.study_folder(KEY).iterdir())
    assert {each.key for each in received} == {KEY}
    assert sorted(path.name for path in files) == sorted(object_name(each.header.sop_instance_uid) for each in received)
    assert (study.n_objects, study.n_bytes) == (3, sum(path.stat().st_size for path in paths))
    assert (study.received_generation, study.is_open, study.source) == (3, True, "MODALITY")
    assert not parts.spool.incoming_files()


def test_the_same_object_again_changes_nothing(parts: ServerParts, tmp_path: Path) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    parts.receive(path)

    again = parts.receive(path)

    assert not again.is_new
    assert study_of(parts).received_generation == 1


def test_other_bytes_under_the_same_uid_replace_the_object(parts: ServerParts, tmp_path: Path) -> None:
    def describe(dataset: Dataset) -> None:
        dataset.StudyDescription = "corrected"

    first, second = (
        write_objects(tmp_path / name, 1, change=change)[0] for name, change in (("a", lambda _: None), ("b", describe))
    )
    parts.receive(first)

    received = parts.receive(second)

    study = study_of(parts)
    assert received.is_new
    assert (study.n_objects, study.received_generation) == (1, 2)
    assert study.n_bytes == second.stat().st_size
    assert next(parts.spool.study_folder(KEY).iterdir()).read_bytes() == second.read_bytes()


def test_two_patients_with_one_study_uid_are_two_studies(parts: ServerParts, tmp_path: Path) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.PatientID = "another"

    keys = {
        parts.receive(write_objects(tmp_path / "a", 1)[0]).key,
        parts.receive(write_objects(tmp_path / "b", 1, change=rename)[0]).key,
    }

    assert len(keys) == 2


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../../etc/passwd", "/etc/passwd", "1.2\x00.3", "..", "a" * 65])
def test_hostile_uids_lead_nowhere(parts: ServerParts, tmp_path: Path, uid: str) -> None:
    def rename(dataset: Dataset) -> None:
        dataset["StudyInstanceUID"]._value = uid  # past pydicom's validation

    before = {path for path in tmp_path.rglob("*") if path.is_dir()}
    path = write_objects(tmp_path / "in", 1, change=rename)[0]
    allowed: set[Path] = {tmp_path / "in"}
    try:
        allowed.add(parts.spool.study_folder(parts.receive(path).key))
    except RejectedObject as error:
        assert error.reason == "no-uid"

    assert {path for path in tmp_path.rglob("*") if path.is_dir()} - before <= allowed


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["1.2.3\x884", "1.2.3\t4"])
@pytest.mark.parametrize("is_in_meta", [False, True])
def test_uids_that_cleaning_would_change_are_rejected(
    parts: ServerParts, tmp_path: Path, uid: str, is_in_meta: bool
) -> None:
    def rename(dataset: Dataset) -> None:
        if is_in_meta:
            del dataset.SOPInstanceUID
            dataset.file_meta["MediaStorageSOPInstanceUID"]._value = uid
        else:
            dataset["SOPInstanceUID"]._value = uid  # past pydicom's validation

    path = write_objects(tmp_path / "in", 1, change=rename)[0]

    with pytest.raises(RejectedObject) as caught:
        parts.receive(path)

    assert caught.value.reason == "no-uid"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID"])
def test_a_uid_of_an_unknown_value_representation_is_none(parts: ServerParts, tmp_path: Path, keyword: str) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    element = dcmread(path)[keyword]
    encoded, tag = path.read_bytes(), element.tag.group.to_bytes(2, "little") + element.tag.elem.to_bytes(2, "little")
    path.write_bytes(encoded.replace(tag + b"UI", tag + b"U3"))

    if keyword == "SOPInstanceUID":  # the meta information has it, too
        assert parts.receive(path).header.sop_instance_uid == element.value
    else:
        with pytest.raises(RejectedObject) as caught:
            parts.receive(path)
        assert caught.value.reason == "no-uid"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "PatientID"])
def test_a_sequence_in_place_of_a_text_is_no_text(parts: ServerParts, tmp_path: Path, keyword: str) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    dataset = dcmread(path)
    # An item whose only element has an unknown value representation; it is decoded when it is shown.
    item = b"\x08\x00\x60\x00U3\x02\x00CT"
    encoded = b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    tag = dataset[keyword].tag
    dataset[tag] = RawDataElement(tag, "SQ", len(encoded), encoded, 0, is_implicit_VR=False, is_little_endian=True)
    dataset.save_as(path)

    if keyword == "StudyInstanceUID":
        with pytest.raises(RejectedObject):
            parts.receive(path)
    else:
        header = parts.receive(path).header
        assert header.patient_id == ("" if keyword == "PatientID" else "somebody")
        assert header.sop_instance_uid == dataset.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "sop-class"),
        ({"StudyInstanceUID": ""}, "no-uid"),
    ],
)
def test_what_is_no_ct_image_is_rejected(
    parts: ServerParts, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    def alter(dataset: Dataset) -> None:
        for name, value in change.items():
            setattr(dataset, name, value)

    path = write_objects(tmp_path / "in", 1, change=alter)[0]

    with pytest.raises(RejectedObject) as caught:
        parts.receive(path)

    assert caught.value.reason == reason
    assert not parts.spool.incoming_files()


def test_a_text_file_and_other_announced_uids_are_rejected(parts: ServerParts, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no DICOM at all, " * 100)
    path = write_objects(tmp_path / "in", 1)[0]

    with pytest.raises(RejectedObject, match="not readable DICOM"):
        parts.receive(text)
    with pytest.raises(RejectedObject, match="other UIDs"):
        parts.receive(path, sop_instance_uid="1.2.3")


def test_limits_of_objects_studies_and_the_disk(tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "in", 3)

    small = make_parts(tmp_path / "a", intake={"max_object_mb": 0.0001})
    few = make_parts(tmp_path / "b", intake={"max_study_objects": 2})
    full = make_parts(tmp_path / "c", storage={"min_free_gb": 1e9})

    with pytest.raises(RejectedObject, match="the limit of an object"):
        small.receive(paths[0])
    few.receive(paths[0])
    few.receive(paths[1])
    with pytest.raises(RejectedObject, match="2 objects"):
        few.receive(paths[2])
    with pytest.raises(SpoolError, match="almost full"):
        full.receive(paths[0])


def test_an_object_whose_record_failed_is_recorded_when_it_is_sent_again(
    parts: ServerParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_objects(tmp_path / "in", 1)[0]

    def fail(*_: object, **__: object) -> None:
        raise SpoolError("the database was killed")

    with monkeypatch.context() as patched:
        patched.setattr(receive_module, "record_object", fail)
        with pytest.raises(SpoolError):
            parts.receive(path)

    received = parts.receive(path)

    assert received.is_new
    assert (study_of(parts).n_objects, study_of(parts).is_open) == (1, True)


@pytest.mark.parametrize("is_sent_again", [True, False])
def test_a_replacement_of_the_same_size_whose_record_failed_opens_the_study_again(
    parts: ServerParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sent_again: bool
) -> None:
    def described(text: str) -> Path:
        def describe(dataset: Dataset) -> None:
            dataset.StudyDescription = text

        return write_objects(tmp_path / text, 1, change=describe)[0]

    first, second = described("one"), described("two")
    assert first.stat().st_size == second.stat().st_size
    parts.receive(first)
    with parts.database.session() as session:
        assert study_records.complete_studies(session, quiet_s=-1.0, now=utc_now())

    def fail(*_: object, **__: object) -> None:
        raise SpoolError("the database was killed")

    with monkeypatch.context() as patched:
        patched.setattr(receive_module, "record_object", fail)
        with pytest.raises(SpoolError):
            parts.receive(second)
    assert not study_of(parts).is_open

    if is_sent_again:
        parts.receive(second)
    else:
        assert reconcile_studies(parts.database, parts.spool) == 1

    assert (study_of(parts).n_objects, study_of(parts).is_open) == (1, True)
    assert study_of(parts).n_bytes == second.stat().st_size


def test_what_is_sent_again_is_not_removed_while_the_rest_comes(parts: ServerParts, tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "in", 2)
    for path in paths:
        parts.receive(path)
    with parts.database.session() as session:
        for study in session.scalars(select(Study)):
            study.last_received_at, study.is_open = utc_now() - timedelta(days=8), False

    parts.receive(paths[0])
    apply_retention(parts.database, parts.spool, RetentionSettings(), now=utc_now())

    assert study_of(parts).originals_removed_at is None
    assert len(list(parts.spool.study_folder(KEY).iterdir())) == 2


def test_a_repeat_that_retention_removes_at_that_moment_is_not_acknowledged(
    parts: ServerParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    parts.receive(path)

    def count_and_remove(folder: Path) -> tuple[int, int]:
        counts = count_objects(folder)
        shutil.rmtree(folder)
        return counts

    monkeypatch.setattr(receive_module, "count_objects", count_and_remove)
    with pytest.raises(SpoolError, match="being removed"):
        parts.receive(path)


def test_an_error_of_the_disk_is_not_the_objects(
    parts: ServerParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(headers, "dcmread", fail)
    with pytest.raises(SpoolError):
        parts.receive(write_objects(tmp_path / "in", 1)[0])


def test_of_a_deflated_object_the_beginning_alone_is_inflated(parts: ServerParts, tmp_path: Path) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    dataset = dcmread(path)
    dataset.PixelData = bytes(2**28)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb = tmp_path / "bomb.dcm"
    dataset.save_as(bomb, enforce_file_format=True)
    del dataset
    assert bomb.stat().st_size < 2**20

    tracemalloc.start()
    received = parts.receive(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert received.header.study_instance_uid == STUDY_UID
    assert peak < 2**25
    with pytest.raises(RejectedObject, match="the limit of an object"):
        make_parts(tmp_path / "small", intake={"max_object_mb": 200.0}).receive(bomb)


def test_a_folder_that_cannot_be_read_delays_no_other_study(
    parts: ServerParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid in ("1.2.3", "1.2.4"):
        parts.receive(write_objects(tmp_path / uid, 1, study=uid)[0])
    bad = parts.spool.study_folders()[0]
    with parts.database.session() as session:
        for study in session.scalars(select(Study)):
            study.n_objects = 7

    def count(folder: Path) -> tuple[int, int]:
        if folder == bad:
            raise PermissionError(errno.EACCES, "Permission denied")
        return count_objects(folder)

    monkeypatch.setattr(reconcile_module, "count_objects", count)

    assert reconcile_studies(parts.database, parts.spool) == 1


def test_nobody_else_may_enter_the_spool(parts: ServerParts) -> None:
    assert stat.S_IMODE(parts.spool.folder.stat().st_mode) == 0o700


def test_an_object_whose_record_is_missing_is_found_at_the_next_start(parts: ServerParts, tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "in", 3)
    for path in paths[:2]:
        parts.receive(path)
    with parts.database.session() as session:
        for job in study_records.complete_studies(session, quiet_s=-1.0, now=study_of(parts).last_received_at):
            assert job.generation == 2
    lost = parts.spool.object_file(KEY, "1.2.3")
    lost.write_bytes(paths[2].read_bytes())  # moved, not recorded

    assert reconcile_studies(parts.database, parts.spool) == 1
    assert reconcile_studies(parts.database, parts.spool) == 0
    assert (study_of(parts).n_objects, study_of(parts).is_open) == (3, True)


def test_a_study_without_any_record_is_found_at_the_next_start(parts: ServerParts, tmp_path: Path) -> None:
    path = write_objects(tmp_path / "in", 1)[0]
    folder = parts.spool.study_folder(KEY)
    folder.mkdir()
    parts.spool.object_file(KEY, "1.2.3").write_bytes(path.read_bytes())

    assert reconcile_studies(parts.database, parts.spool) == 1
    assert study_of(parts).key == KEY


def test_studies_of_some_senders_are_complete_at_once_and_open_again_for_a_late_object(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, intake={"at_once": ["MODALITY"]})
    paths = write_objects(tmp_path / "in", 3)
    for path in paths[:2]:
        parts.receive(path)

    parts.receiver.complete([KEY], source="ANOTHER")
    assert study_of(parts).is_open
    parts.receiver.complete([KEY], source="MODALITY")
    assert not study_of(parts).is_open
    parts.receive(paths[2])

    study = study_of(parts)
    assert study.is_open
    assert (study.job_generation, study.received_generation) == (2, 3)


def test_keys_that_are_none_name_no_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    for key in ("", "..", "a/b", "../..", "G" * 32):
        with pytest.raises(Exception, match="hex digits"):
            spool.study_folder(key)
    for path in ("", "../x", "/etc/passwd"):
        with pytest.raises(Exception, match="outside of the spool"):
            spool.absolute(path)
