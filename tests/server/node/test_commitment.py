"""Storage commitment: what the spool holds is committed to, over the same association or a new one."""

import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from sqlalchemy import func, select
from tests.support.node import RunningNode, read_slices, running_node
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

from cspine.server.database.tables import Commitment
from cspine.server.node.commitment import INSTANCE, CommitmentService, find_failures
from cspine.server.node.contexts import STORAGE_COMMITMENT

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom's sockets

CONTEXT = (STORAGE_COMMITMENT, "1.2.840.10008.1.2")
Reports = queue.Queue[tuple[int, Dataset]]


def request(datasets: Sequence[Dataset], transaction: str = "1.2.3.4") -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = []
    for dataset in datasets:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        information.ReferencedSOPSequence.append(item)
    return information


def collect(reports: Reports) -> list[Any]:
    """Return the handlers of a peer that collects results."""

    def handle(event: evt.Event) -> tuple[int, None]:
        reports.put((int(event.request.EventTypeID), event.event_information))  # type: ignore[union-attr, arg-type]
        return 0x0000, None

    return [(evt.EVT_N_EVENT_REPORT, handle)]


def uids(sequence: Sequence[Dataset]) -> set[str]:
    return {str(item.ReferencedSOPInstanceUID) for item in sequence}


def ask(running: RunningNode, information: Dataset, reports: Reports, *, instance: str = INSTANCE) -> Any:
    """Return an association over which commitment was asked for, and the status."""
    association = running.associate([CONTEXT], evt_handlers=collect(reports))
    status, _ = association.send_n_action(information, 1, STORAGE_COMMITMENT, instance)
    return association, status.Status


def n_requests(running: RunningNode) -> int:
    with running.parts.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Commitment)) or 0


def test_the_result_comes_over_the_open_association(tmp_path: Path) -> None:
    datasets, reports = read_slices(tmp_path / "series", 4), Reports()
    with running_node(tmp_path) as running:
        running.send(datasets[:3])
        association, status = ask(running, request(datasets), reports)
        event_type, information = reports.get(timeout=20)
        association.release()

        assert status == 0x0000
        assert event_type == 2  # failures exist
        assert information.TransactionUID == "1.2.3.4"
        assert uids(information.ReferencedSOPSequence) == {str(each.SOPInstanceUID) for each in datasets[:3]}
        assert uids(information.FailedSOPSequence) == {str(datasets[3].SOPInstanceUID)}
        assert information.FailedSOPSequence[0].FailureReason == 0x0112
        for _ in range(100):
            if not n_requests(running):
                break
            time.sleep(0.05)
        assert n_requests(running) == 0
        assert reports.empty()


def test_objects_may_follow_a_request_on_its_association(tmp_path: Path) -> None:
    one, other = read_slices(tmp_path / "series", 2)
    reports = Reports()
    with running_node(tmp_path) as running:
        running.send([one])
        context = str(other.SOPClassUID), str(other.file_meta.TransferSyntaxUID)
        association = running.associate([CONTEXT, context], evt_handlers=collect(reports))
        association.send_n_action(request([one]), 1, STORAGE_COMMITMENT, INSTANCE)
        statuses = [association.send_c_store(other).Status for _ in range(20)]
        event_type, _ = reports.get(timeout=20)
        association.release()

        assert statuses == [0] * 20
        assert event_type == 1


def test_the_result_comes_over_a_new_association_where_the_first_has_ended(tmp_path: Path) -> None:
    datasets, reports = read_slices(tmp_path / "series", 2), Reports()
    entity = AE(ae_title="SCANNER")
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    peer: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=collect(reports))
    peers = [{"ae_title": "SCANNER", "host": "127.0.0.1", "port": peer.server_address[1]}]
    try:
        with running_node(tmp_path, node={"commitment_peers": peers}) as running:
            running.send(datasets)
            association, status = ask(running, request(datasets), Reports())
            association.release()
            event_type, information = reports.get(timeout=20)
    finally:
        peer.shutdown()

    assert status == 0x0000
    assert event_type == 1
    assert uids(information.ReferencedSOPSequence) == {str(each.SOPInstanceUID) for each in datasets}
    assert "FailedSOPSequence" not in information


def test_a_result_that_nobody_took_is_kept_for_a_node_that_starts_later(tmp_path: Path) -> None:
    datasets = read_slices(tmp_path / "series", 1)
    with running_node(tmp_path) as running:
        association, status = ask(running, request(datasets), Reports())
        association.abort()

        assert status == 0x0000
        assert n_requests(running) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _: None, 0x0000),
        (lambda each: each.pop("TransactionUID"), 0x0115),
        (lambda each: each.pop("ReferencedSOPSequence"), 0x0115),
        (lambda each: setattr(each, "ReferencedSOPSequence", []), 0x0115),
        (lambda each: setattr(each.ReferencedSOPSequence[0], "ReferencedSOPInstanceUID", ""), 0x0115),
    ],
    ids=["whole", "no-transaction", "no-references", "empty", "empty-uid"],
)
def test_requests_that_lack_something_are_refused(change: Any, expected: int, tmp_path: Path) -> None:
    information = request(read_slices(tmp_path / "series", 1))
    change(information)
    with running_node(tmp_path) as running:
        association, status = ask(running, information, Reports())
        association.release()

        assert status == expected


def test_another_instance_or_a_database_that_fails_gives_no_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def fail(*_: object) -> None:
        raise OperationalError("", {}, Exception())

    information = request(read_slices(tmp_path / "series", 1))
    with running_node(tmp_path) as running:
        association, status = ask(running, information, Reports(), instance="1.2.3")
        association.release()
        assert status == 0x0123
        monkeypatch.setattr(CommitmentService, "_record", fail)
        association, status = ask(running, information, Reports())
        association.release()
        assert status == 0x0213


def test_a_class_that_is_not_the_objects_is_a_failure(tmp_path: Path) -> None:
    (one,) = read_slices(tmp_path / "series", 1)
    with running_node(tmp_path) as running:
        running.send([one])
        wrong = ("1.2.840.10008.5.1.4.1.1.4", str(one.SOPInstanceUID))
        right = (str(one.SOPClassUID), str(one.SOPInstanceUID))

        assert find_failures(running.spool, [right]) == {}
        assert find_failures(running.spool, [wrong]) == {wrong: 0x0119}
