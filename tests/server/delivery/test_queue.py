"""The queue of a destination: order, attempts, leases, what is superseded, and silent mode."""

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from tests.support.delivery import add_job, deliveries
from tests.support.server import ServerParts, make_parts, write_objects

from cspine.core.errors import InputError
from cspine.reports.dicom.objects import REJECTION_PREFIX
from cspine.server.database.deliveries import claim_delivery
from cspine.server.database.engine import utc_now
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState
from cspine.server.delivery.outgoing import DeliveryError, OutgoingResult
from cspine.server.delivery.sender import Queue, run_sender
from cspine.server.settings import DestinationSettings

THERE = DestinationSettings(name="there", kind="webhook", url="http://127.0.0.1:9", backoff_s=0.0, timeout_s=2.0)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "findings.json").write_text("{}")
    return folder


class Recorder:
    """Sends nothing, keeps what it should send, and fails as often as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.sent: list[str] = []
        self.failures = list(failures)

    def __call__(self, _: DestinationSettings, outgoing: OutgoingResult) -> None:
        self.sent.append(outgoing.key)
        if self.failures:
            raise self.failures.pop(0)


def queue(parts: ServerParts, send: Any, there: DestinationSettings = THERE) -> Queue:
    return Queue(there, parts.database, parts.spool, send)


def test_each_result_is_sent_once_in_order(parts: ServerParts, result: Path) -> None:
    jobs = [add_job(parts, [THERE], result, study=f"1.2.{n}") for n in range(4)]
    send = Recorder()
    here = queue(parts, send)
    while here.send_next():
        pass

    assert [int(key.rpartition("-")[2]) for key in send.sent] == jobs
    assert {each.state for each in deliveries(parts)} == {DeliveryState.SENT}
    assert not here.send_next()


@pytest.mark.parametrize(
    "failure",
    [DeliveryError("refused"), InputError("no secret"), RuntimeError("a fault of ours")],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_waits_for_the_next_attempt(failure: Exception, parts: ServerParts, result: Path) -> None:
    add_job(parts, [THERE], result)
    send = Recorder(failure)
    here = queue(parts, send)

    assert here.send_next()
    assert deliveries(parts)[0].state == DeliveryState.WAITING
    assert deliveries(parts)[0].error
    assert here.send_next()
    assert deliveries(parts)[0].state == DeliveryState.SENT
    assert deliveries(parts)[0].error == ""


def test_the_last_attempt_gives_up_and_the_next_result_goes_on(parts: ServerParts, result: Path) -> None:
    there = THERE.model_copy(update={"max_attempts": 2})
    add_job(parts, [there], result, study="1.2.3")
    send = Recorder(DeliveryError("no"), DeliveryError("no"))
    here = queue(parts, send, there)
    here.send_next()
    here.send_next()
    add_job(parts, [there], result, study="1.2.4")
    here.send_next()

    assert [each.state for each in deliveries(parts)] == [DeliveryState.FAILED, DeliveryState.SENT]


def test_a_removed_result_is_given_up_at_once(parts: ServerParts, result: Path) -> None:
    job = add_job(parts, [THERE], result)
    with parts.database.session() as session:
        row = session.get(Job, job)
        assert row is not None
        row.results_removed_at = utc_now()
    send = Recorder()
    queue(parts, send).send_next()

    assert send.sent == []
    assert deliveries(parts)[0].state == DeliveryState.FAILED
    assert "removed" in deliveries(parts)[0].error


def test_a_later_answer_goes_instead_of_an_earlier_one_that_has_not_gone(parts: ServerParts, result: Path) -> None:
    first = add_job(parts, [THERE], result, study="1.2.3")
    second = add_job(parts, [THERE], result, study="1.2.3")
    send = Recorder()
    here = queue(parts, send)
    while here.send_next():
        pass

    assert [int(key.rpartition("-")[2]) for key in send.sent] == [second]
    states = {each.job_id: each.state for each in deliveries(parts)}
    assert states == {first: DeliveryState.SUPERSEDED, second: DeliveryState.SENT}


def test_a_correction_goes_where_the_suspicious_result_went(parts: ServerParts, result: Path) -> None:
    there = THERE.model_copy(update={"send": "suspicious"})
    send = Recorder()
    here = queue(parts, send, there)
    add_job(parts, [there], result, study="1.2.3")
    here.send_next()
    add_job(parts, [there], result, study="1.2.3", is_suspicious=False)
    add_job(parts, [there], result, study="1.2.4", is_suspicious=False)
    while here.send_next():
        pass

    assert len(send.sent) == 2


def test_a_suspicious_result_that_waits_is_not_taken_out_without_the_later_one(
    parts: ServerParts, result: Path
) -> None:
    there = THERE.model_copy(update={"send": "suspicious"})
    send = Recorder()
    add_job(parts, [there], result, study="1.2.3")
    second = add_job(parts, [there], result, study="1.2.3", is_suspicious=False, state=JobState.NOT_ASSESSABLE)
    here = queue(parts, send, there)
    while here.send_next():
        pass

    assert [int(key.rpartition("-")[2]) for key in send.sent] == [second]


def test_rejection_notes_of_a_result_that_did_not_go_go_with_the_later_one(
    parts: ServerParts, result: Path, tmp_path: Path
) -> None:
    (result / "dicom").mkdir()
    note = write_objects(tmp_path / "note", 1)[0]
    (result / "dicom" / f"{REJECTION_PREFIX}1.dcm").write_bytes(note.read_bytes())
    add_job(parts, [THERE], result, study="1.2.3")
    (result / "dicom" / f"{REJECTION_PREFIX}1.dcm").unlink()
    add_job(parts, [THERE], result, study="1.2.3")
    sent: list[str] = []
    here = queue(parts, lambda _, outgoing: sent.extend(each.sop_instance_uid for each in outgoing.objects()))
    while here.send_next():
        pass

    assert sent == [str(dcmread(note).SOPInstanceUID)]


def test_a_destination_that_cannot_be_reached_is_waited_for(parts: ServerParts, result: Path) -> None:
    there = THERE.model_copy(update={"max_attempts": 2})
    add_job(parts, [there], result)
    send = Recorder(*[DeliveryError("away", is_unreachable=True)] * 3)
    here = queue(parts, send, there)
    for _ in range(4):
        assert here.send_next()

    assert deliveries(parts)[0].state == DeliveryState.SENT


def test_a_sender_that_was_killed_is_replaced_after_its_lease(parts: ServerParts, result: Path) -> None:
    add_job(parts, [THERE], result)
    with parts.database.session() as session:
        assert claim_delivery(session, "there", lease_s=60, now=utc_now()) is not None
    send = Recorder()
    here = queue(parts, send)
    assert not here.send_next()

    with parts.database.session() as session:
        session.query(Delivery).update({"lease_until": utc_now() - timedelta(seconds=1)})
    assert here.send_next()
    assert len(send.sent) == 1
    assert deliveries(parts)[0].state == DeliveryState.SENT


def test_a_sender_whose_lease_is_lost_stops(parts: ServerParts, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_job(parts, [THERE], result)
    steps = []

    def send(_: DestinationSettings, outgoing: OutgoingResult) -> None:
        steps.append("first")
        with parts.database.session() as session:
            session.query(Delivery).update({"lease_token": "another"})
        now = time.monotonic()
        monkeypatch.setattr("cspine.server.delivery.sender.time.monotonic", lambda: now + 1000)
        outgoing.keep_lease()
        steps.append("second")

    queue(parts, send).send_next()

    assert steps == ["first"]
    assert deliveries(parts)[0].state == DeliveryState.SENDING
    assert deliveries(parts)[0].lease_token == "another"


def test_a_destination_that_cannot_be_reached_holds_its_queue_up_and_no_other(parts: ServerParts, result: Path) -> None:
    other = THERE.model_copy(update={"name": "other"})
    for n in range(3):
        add_job(parts, [THERE, other], result, study=f"1.2.{n}")
    broken, fine = Recorder(*[DeliveryError("away", is_unreachable=True)] * 9), Recorder()
    stop = threading.Event()
    threads = [
        threading.Thread(target=queue(parts, broken).run, args=(stop, 0.01)),
        threading.Thread(target=queue(parts, fine, other).run, args=(stop, 0.01)),
    ]
    for thread in threads:
        thread.start()
    for _ in range(100):
        if len(fine.sent) == 3:
            break
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join(10)

    assert len(fine.sent) == 3
    assert len(broken.sent) == 1  # the second attempt waits for the pause of the queue


def test_stop_ends_between_two_objects(parts: ServerParts, result: Path) -> None:
    add_job(parts, [THERE], result)
    stop = threading.Event()

    def send(_: DestinationSettings, outgoing: OutgoingResult) -> None:
        stop.set()
        outgoing.keep_lease()
        raise AssertionError("the sender goes on")

    queue(parts, send).run(stop, 0.01)

    assert deliveries(parts)[0].state == DeliveryState.WAITING
    assert "stopped" in deliveries(parts)[0].error


def test_silent_mode_sends_nothing(tmp_path: Path, result: Path) -> None:
    parts = make_parts(tmp_path / "parts", storage={"silent": True}, destinations=[THERE.model_dump()])
    add_job(parts, [THERE], result)
    stop = threading.Event()
    thread = threading.Thread(target=run_sender, args=(parts.settings, parts.database, parts.spool, stop))
    thread.start()
    time.sleep(1.0)
    stop.set()
    thread.join(10)

    assert [each.state for each in deliveries(parts)] == [DeliveryState.WAITING]
    assert [each.attempts for each in deliveries(parts)] == [0]
    parts.database.close()
