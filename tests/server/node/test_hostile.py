"""What a peer may do wrong: dropped connections, messages out of order, sizes that lie. The node goes on."""

import socket
import struct
import threading
import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from tests.support.node import RunningNode, read_slices, running_node
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

from cspine.server.node.association import close_socket
from cspine.server.node.messages import MAX_COMMAND_BYTES

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom's sockets


def wait_for_the_end(running: RunningNode) -> None:
    """Wait until the node has no association left."""
    for _ in range(200):
        if not running.node.access.n_associations:
            return
        time.sleep(0.05)
    raise AssertionError("an association does not end")


def context_of(dataset: Dataset) -> tuple[str, str]:
    return str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)


def send_fragments(association: Any, *fragments: bytes, context_id: int = 1) -> None:
    for fragment in fragments:
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context_id, fragment]]  # type: ignore[list-item]
        association.dul.send_pdu(primitive)


def store_command(dataset: Dataset) -> bytes:
    """Return the command of a C-STORE request."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dsutils import encode

    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    message.command_set.CommandDataSetType = 0x0001
    data = encode(message.command_set, True, True)
    assert data is not None
    return data


def test_a_dropped_association_leaves_nothing_and_acknowledges_nothing(tmp_path: Path) -> None:
    one, other = read_slices(tmp_path / "series", 2)
    with running_node(tmp_path) as running:
        association = running.associate([context_of(one)])
        send_fragments(association, b"\x03" + store_command(one), b"\x00" + b"x" * 5000)
        time.sleep(0.3)
        assert len(running.spool.incoming_files()) == 1
        close_socket(association.dul.socket)
        wait_for_the_end(running)

        assert running.spool.incoming_files() == []
        assert running.stored() == set()
        assert running.send([one, other]) == [0, 0]
        association.abort()


@pytest.mark.parametrize(
    "fragments",
    [
        [b"\x02data without a command"],
        [b"\x03" + b"\xff" * 40],
        [b"\x03"],
        [b"\x01" + b"\0" * 60_000] * (MAX_COMMAND_BYTES // 60_000 + 1),
        ["command", b"\x01a command inside of a data set"],
        ["command", b"\x00part", "other context"],
    ],
    ids=["data-first", "damaged-command", "empty-command", "endless-command", "command-in-data", "two-contexts"],
)
def test_messages_out_of_order_end_the_association(fragments: list[Any], tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    with running_node(tmp_path, node={"timeout_s": 3.0}) as running:
        association = running.associate([context_of(one), ("1.2.840.10008.1.1", "1.2.840.10008.1.2")])
        for fragment in fragments:
            if fragment == "command":
                send_fragments(association, b"\x03" + store_command(one))
            elif fragment == "other context":
                send_fragments(association, b"\x02rest", context_id=3)
            else:
                send_fragments(association, fragment)
        wait_for_the_end(running)

        assert running.spool.incoming_files() == []
        assert running.stored() == set()
        assert running.send([one]) == [0]
        association.abort()


def test_truncated_objects_are_not_acknowledged(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    with running_node(tmp_path) as running:
        association = running.associate([context_of(one)])
        send = association.dimse.send_msg

        def cut(primitive: Any, context_id: int) -> None:
            if isinstance(primitive, C_STORE) and primitive.DataSet is not None:
                primitive.DataSet = BytesIO(primitive.DataSet.getvalue()[:40])
            send(primitive, context_id)

        association.dimse.send_msg = cut  # type: ignore[method-assign]
        status = association.send_c_store(one).Status
        association.release()

        assert status & 0xF000 in {0xA000, 0xC000}
        assert running.stored() == set()


def test_a_request_without_its_number_is_not_served_and_leaves_no_file(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    command = store_command(one)
    number = command.index(b"\0\0\x10\x01")  # (0000,0110), MessageID, with length and value
    with running_node(tmp_path) as running:
        association = running.associate([context_of(one)])
        send_fragments(association, b"\x03" + command[:number] + command[number + 10 :], b"\x02data")
        wait_for_the_end(running)

        assert running.spool.incoming_files() == []
        association.abort()


@pytest.mark.parametrize(
    ("tag", "value"),
    [(b"\0\0\0\x07", b"\x07\0"), (b"\0\0\x00\x10", b"1.0..")],
    ids=["no-such-priority", "no-uid"],
)
def test_a_request_that_is_not_valid_is_not_served_and_leaves_no_file(tag: bytes, value: bytes, tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    command = store_command(one)
    begin = command.index(tag) + 8  # after tag and length
    with running_node(tmp_path) as running:
        association = running.associate([context_of(one)])
        send_fragments(association, b"\x03" + command[:begin] + value + command[begin + len(value) :], b"\x02data")
        wait_for_the_end(running)

        assert running.spool.incoming_files() == []
        assert running.stored() == set()
        association.abort()


def test_requests_without_waiting_for_responses_end_the_association(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    release = threading.Event()

    class Slow:
        def receive(self, *_: Any, **__: Any) -> Any:
            release.wait(5)
            return SimpleNamespace(key="a")

        def complete(self, *_: Any, **__: Any) -> None:
            pass

    with running_node(tmp_path, receiver=Slow()) as running:
        association = running.associate([context_of(one)])
        for _ in range(20):
            send_fragments(association, b"\x03" + store_command(one), b"\x02data")
        time.sleep(1.0)
        release.set()
        wait_for_the_end(running)

        assert running.spool.incoming_files() == []
        association.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x00" + struct.pack(">L", 0xFFFFFFFF) + b"\0" * 1000,
        b"\x04\x00" + struct.pack(">L", 0x7FFFFFFF),
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x01\x00" + struct.pack(">L", 68) + b"\xff" * 68,
        b"\x01\x00\x00",
        b"",
    ],
    ids=["4-gb", "2-gb-of-data", "http", "nonsense", "cut-off", "nothing"],
)
def test_sizes_that_lie_take_no_memory_and_no_thread(data: bytes, tmp_path: Path) -> None:
    with running_node(tmp_path, node={"timeout_s": 1.0}) as running:
        before = threading.active_count()
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.settimeout(10)
            connection.sendall(data)
            while connection.recv(4096):  # an answer, if any, and then the end
                pass
        for _ in range(100):
            if threading.active_count() <= before:
                break
            time.sleep(0.05)

        assert threading.active_count() <= before
        assert running.send(read_slices(tmp_path / "series", 1)) == [0]


def test_bytes_that_come_one_by_one_are_not_waited_for(tmp_path: Path) -> None:
    with running_node(tmp_path, node={"timeout_s": 1.0}) as running:
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(b"\x01\x00" + struct.pack(">L", 200))
            is_open = True
            while is_open and time.monotonic() - begin < 10:
                try:
                    connection.sendall(b"\0")
                except OSError:
                    is_open = False
                time.sleep(0.1)

        assert not is_open


def test_stop_ends_associations_in_bounded_time(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    with running_node(tmp_path) as running:
        association = running.associate([context_of(one)])
        send_fragments(association, b"\x03" + store_command(one), b"\x00part")
        begin = time.monotonic()
        running.node.stop(grace_s=0.5)

        assert time.monotonic() - begin < 8
        assert running.spool.incoming_files() == []
        association.abort()


def test_logs_hold_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = read_slices(tmp_path / "series", 2)
    one.PatientName, one.PatientID = "Secret^Name", "secret-id"
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    del other.StudyInstanceUID
    with caplog.at_level("DEBUG", logger="cspine"), running_node(tmp_path) as running:
        running.send([one, other])

    records = [record.getMessage() for record in caplog.records if record.name.startswith("cspine")]
    assert any("refused" in text for text in records)
    assert not [text for text in records if "ecret" in text or str(one.SOPInstanceUID) in text]
