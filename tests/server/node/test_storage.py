"""C-STORE and C-ECHO: what is acknowledged is in the spool, and what is not gets a status that says why."""

import time
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import select
from tests.support.codecs import SYNTAXES, Syntax
from tests.support.dicom import make_hu, write_enhanced
from tests.support.node import RunningNode, read_slices, running_node
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

from cspine.server.database.tables import Study
from cspine.server.errors import RejectedObject, SpoolError
from cspine.server.node.storage import MISMATCH, NOT_UNDERSTOOD, OUT_OF_RESOURCES, TOO_LARGE

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # pynetdicom's sockets
    pytest.mark.filterwarnings("ignore:Invalid value for VR UI"),  # pydicom's, of UIDs that are paths
]


class Failing:
    """A receiver that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def receive(self, *_: Any, **__: Any) -> None:
        raise self.error


def test_echo(tmp_path: Path) -> None:
    with running_node(tmp_path) as running:
        association = running.associate()
        assert association.send_c_echo().Status == 0x0000
        association.release()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda each: each.name)
def test_every_transfer_syntax_that_is_decoded_is_taken_as_it_is(syntax: Syntax, tmp_path: Path) -> None:
    datasets = read_slices(tmp_path / "series", 2, syntax=syntax)

    with running_node(tmp_path) as running:
        assert running.send(datasets) == [0, 0]

        (folder,) = running.spool.study_folders()
        back = {str(each.SOPInstanceUID): each for each in map(pydicom.dcmread, folder.iterdir())}
    assert len(back) == 2
    for dataset in datasets:
        same = back[dataset.SOPInstanceUID]
        assert same.file_meta.TransferSyntaxUID == syntax.uid
        assert same == dataset


def test_enhanced_ct_is_taken(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_enhanced(tmp_path / "series", make_hu((3, 16, 12))))

    with running_node(tmp_path) as running:
        assert running.send([dataset]) == [0]
        assert running.stored() == {dataset.SOPInstanceUID}


def test_names_of_files_hold_nothing_of_what_was_received(tmp_path: Path) -> None:
    (dataset,) = read_slices(tmp_path / "series", 1)
    dataset.StudyInstanceUID = "../../../../tmp/escape"
    dataset.PatientID = "../../etc/passwd"

    with running_node(tmp_path) as running:
        assert running.send([dataset]) == [0]
        files = [path for path in running.spool.folder.rglob("*") if path.is_file() and path.suffix == ".dcm"]

    assert len(files) == 1
    assert set(files[0].stem) <= set("0123456789abcdef")
    assert not Path("/tmp/escape").exists()
    assert not list(tmp_path.rglob("*escape*"))


@pytest.mark.parametrize("uid", ["../../../../tmp/escape", "1.2/../../x", "/etc/cron.d/x"])
def test_an_instance_uid_that_is_a_path_leads_nowhere(uid: str, tmp_path: Path) -> None:
    (dataset,) = read_slices(tmp_path / "series", 1)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)

    with running_node(tmp_path) as running:
        running.send([dataset])
        outside = [path for path in tmp_path.rglob("*") if path.is_file() and "spool" not in path.parts]

    assert {path.parent.name for path in outside} == {"series"}
    assert not Path("/tmp/escape").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpoolError("the disk is full"), OUT_OF_RESOURCES),
        (RejectedObject("sop-class", "is no CT image"), MISMATCH),
        (RejectedObject("too-large", "is too large"), TOO_LARGE),
        (RejectedObject("not-dicom", "is not DICOM"), NOT_UNDERSTOOD),
        (ValueError("a fault of ours"), OUT_OF_RESOURCES),
    ],
    ids=str,
)
def test_what_is_not_stored_is_not_acknowledged(error: Exception, status: int, tmp_path: Path) -> None:
    with running_node(tmp_path, receiver=Failing(error)) as running:
        assert running.send(read_slices(tmp_path / "series", 2)) == [status, status]
        assert running.spool.incoming_files() == []


def test_a_spool_without_space_for_the_file_refuses_and_takes_the_object_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = read_slices(tmp_path / "series", 2)
    full = OSError(28, "No space left on device")

    def fail(*_: object) -> None:
        raise full

    with running_node(tmp_path) as running:
        with monkeypatch.context() as patch:
            patch.setattr("cspine.server.node.incoming.write_file_meta_info", fail)
            assert running.send(datasets) == [OUT_OF_RESOURCES] * 2
        assert running.spool.incoming_files() == []
        assert running.send(datasets) == [0, 0]


def test_an_object_above_the_limit_is_refused_and_the_association_goes_on(tmp_path: Path) -> None:
    small, large = read_slices(tmp_path / "series", 2)
    large.add_new(0x00091010, "OB", b"\0" * 150_000)

    with running_node(tmp_path, intake={"max_object_mb": 0.1}) as running:
        assert running.send([large, small]) == [TOO_LARGE, 0]
        assert running.stored() == {small.SOPInstanceUID}
        assert running.spool.incoming_files() == []


def test_an_object_far_above_the_limit_ends_the_association(tmp_path: Path) -> None:
    small, large = read_slices(tmp_path / "series", 2)
    large.add_new(0x00091010, "OB", b"\0" * 1_000_000)

    with running_node(tmp_path, intake={"max_object_mb": 0.1}) as running:
        association = running.associate([(str(small.SOPClassUID), str(small.file_meta.TransferSyntaxUID))])
        status = association.send_c_store(large)

        assert "Status" not in status
        association.abort()
        assert running.send([small]) == [0]
        assert running.spool.incoming_files() == []


def test_uids_of_command_and_data_set_have_to_agree(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)

    with running_node(tmp_path) as running:
        context = (str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID))
        association = running.associate([context])
        request = association.dimse.send_msg

        def announce_another(primitive: Any, context_id: int) -> None:
            if hasattr(primitive, "AffectedSOPInstanceUID") and primitive.MessageIDBeingRespondedTo is None:
                primitive.AffectedSOPInstanceUID = "1.2.3.4"
            request(primitive, context_id)

        association.dimse.send_msg = announce_another  # type: ignore[method-assign]
        status = association.send_c_store(one).Status
        association.release()

        assert status == MISMATCH
        assert running.stored() == set()


def test_a_released_association_completes_its_studies_where_the_settings_say_so(tmp_path: Path) -> None:
    slices = read_slices(tmp_path / "series", 2)
    with running_node(tmp_path, intake={"at_once": ["*"], "quiet_s": 3600.0}) as running:
        aborted = running.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        assert aborted.send_c_store(slices[0]).Status == 0x0000
        aborted.abort()
        assert is_open(running)

        released = running.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        assert released.send_c_store(slices[1]).Status == 0x0000
        released.release()
        end = time.monotonic() + 10.0
        while is_open(running) and time.monotonic() < end:
            time.sleep(0.05)

        assert not is_open(running)


def is_open(running: RunningNode) -> bool:
    with running.parts.database.reading() as session:
        return session.scalars(select(Study)).one().is_open
