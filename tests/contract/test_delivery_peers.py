"""Results to Orthanc by C-STORE and STOW-RS: whole, once, also where a sender is killed before it records them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from tests.support.delivery import add_job, deliveries, write_result
from tests.support.node import make_certificates, running_node
from tests.support.orthanc import Server, needs_orthanc, running_orthanc
from tests.support.server import ServerParts, make_parts
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

from cspine.server.database.engine import utc_now
from cspine.server.database.tables import Delivery, DeliveryState
from cspine.server.delivery.outgoing import OutgoingResult
from cspine.server.delivery.sender import Queue
from cspine.server.settings import DestinationSettings

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom's sockets


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_result(tmp_path_factory.mktemp("result"))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as made:
        yield made


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ServerParts]:
    made = make_parts(tmp_path)
    yield made
    made.database.close()


def to_node(port: int, **options: Any) -> DestinationSettings:
    values = {"name": "pacs", "kind": "dicom", "host": "127.0.0.1", "port": port, "ae_title": "PACS", "timeout_s": 10.0}
    return DestinationSettings.model_validate({**values, "backoff_s": 0.0, "max_attempts": 2, **options})


def to_orthanc(server: Server, kind: str, **options: Any) -> DestinationSettings:
    if kind == "dicom":
        return to_node(server.dicom, ae_title="ORTHANC", **options)
    return DestinationSettings(name="pacs", kind="stow", url=f"{server.url}/dicom-web", timeout_s=20.0, **options)


def written(result: Path) -> dict[str, pydicom.Dataset]:
    datasets = [pydicom.dcmread(path) for path in (result / "dicom").glob("*.dcm")]
    return {str(each.SOPInstanceUID): each for each in datasets}


@needs_orthanc
@pytest.mark.parametrize("kind", ["dicom", "stow"])
def test_every_object_arrives_as_it_was(kind: str, orthanc: Server, parts: ServerParts, result: Path) -> None:
    orthanc.clear()
    there = to_orthanc(orthanc, kind)
    add_job(parts, [there], result)
    assert Queue(there, parts.database, parts.spool).send_next()

    (delivery,) = deliveries(parts)
    assert (delivery.state, delivery.error) == (DeliveryState.SENT, "")
    back, expected = orthanc.stored(), written(result)
    assert back.keys() == expected.keys()
    for uid, data in back.items():
        dataset = pydicom.dcmread(BytesIO(data))
        assert dataset == expected[uid]
        assert dataset.file_meta.TransferSyntaxUID == expected[uid].file_meta.TransferSyntaxUID


@needs_orthanc
@pytest.mark.parametrize("kind", ["dicom", "stow"])
def test_only_the_report(kind: str, orthanc: Server, parts: ServerParts, result: Path) -> None:
    orthanc.clear()
    there = to_orthanc(orthanc, kind, objects="sr")
    add_job(parts, [there], result)
    Queue(there, parts.database, parts.spool).send_next()

    assert {pydicom.dcmread(BytesIO(data)).Modality for data in orthanc.stored().values()} == {"SR"}


def _send_and_die(folder: Path, there: DestinationSettings) -> None:
    """Send the next delivery, and be killed before it is recorded."""
    parts = make_parts(folder)
    here = Queue(there, parts.database, parts.spool)
    send = here._send

    def die_afterwards(destination: DestinationSettings, outgoing: OutgoingResult) -> None:
        send(destination, outgoing)
        os.kill(os.getpid(), signal.SIGKILL)

    here._send = die_afterwards
    here.send_next()


@needs_orthanc
@pytest.mark.parametrize("kind", ["dicom", "stow"])
def test_a_result_whose_sender_was_killed_is_sent_again_and_held_once(
    kind: str, orthanc: Server, parts: ServerParts, result: Path, tmp_path: Path
) -> None:
    orthanc.clear()
    there = to_orthanc(orthanc, kind)
    add_job(parts, [there], result)
    process = multiprocessing.get_context("spawn").Process(target=_send_and_die, args=(tmp_path, there))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    first = orthanc.stored()
    assert deliveries(parts)[0].state == DeliveryState.SENDING

    with parts.database.session() as session:  # the lease runs out
        session.query(Delivery).update({"lease_until": utc_now() - timedelta(seconds=1)})
    assert Queue(there, parts.database, parts.spool).send_next()

    assert deliveries(parts)[0].state == DeliveryState.SENT
    assert deliveries(parts)[0].attempts == 2
    assert orthanc.stored().keys() == first.keys() == written(result).keys()


class Archive:
    """A node that accepts what it is told to, and keeps what it gets."""

    def __init__(self, classes: set[str], *, syntaxes: list[str], status: int = 0x0000) -> None:
        self.got: list[pydicom.Dataset] = []
        self.status = status
        entity = AE(ae_title="PACS")
        entity.supported_contexts = [build_context(uid, syntaxes) for uid in sorted(classes)]
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self._server, self.port = server, int(server.server_address[1])

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = event.context.transfer_syntax
        self.got.append(dataset)
        return self.status

    def close(self) -> None:
        self._server.shutdown()


def test_a_node_without_compression_gets_pixels_without_it(parts: ServerParts, result: Path) -> None:
    expected = written(result)
    archive = Archive({str(each.SOPClassUID) for each in expected.values()}, syntaxes=[ExplicitVRLittleEndian])
    there = to_node(archive.port)
    add_job(parts, [there], result)
    Queue(there, parts.database, parts.spool).send_next()
    archive.close()

    compressed = [each for each in expected.values() if each.file_meta.TransferSyntaxUID.is_encapsulated]
    assert compressed
    got = {str(each.SOPInstanceUID): each for each in archive.got}
    assert got.keys() == expected.keys()
    for each in compressed:
        assert (got[each.SOPInstanceUID].pixel_array == decode(each)).all()


def decode(dataset: pydicom.Dataset) -> Any:
    """Return the pixels of a capture that JPEG-LS compresses, by imagecodecs."""
    import imagecodecs
    import numpy as np
    from pydicom.encaps import generate_frames

    frames = generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1)))
    pixels = [imagecodecs.jpegls_decode(frame) for frame in frames]
    return np.stack(pixels) if len(pixels) > 1 else pixels[0]


def test_classes_that_a_node_does_not_accept_are_left_out_but_never_the_report(
    parts: ServerParts, result: Path
) -> None:
    reports = {str(each.SOPClassUID) for each in written(result).values() if each.Modality == "SR"}
    others = {str(each.SOPClassUID) for each in written(result).values()} - reports
    for classes, state in ((reports, DeliveryState.SENT), (others, DeliveryState.WAITING)):
        archive = Archive(classes, syntaxes=[ExplicitVRLittleEndian])
        there = to_node(archive.port, name=f"pacs-{len(classes)}-{state}")
        add_job(parts, [there], result, study=f"1.2.{state}")
        Queue(there, parts.database, parts.spool).send_next()
        archive.close()

        assert deliveries(parts)[-1].state == state, deliveries(parts)[-1].error
        assert {str(each.SOPClassUID) for each in archive.got} == (reports if state == DeliveryState.SENT else set())


@pytest.mark.parametrize(("status", "state"), [(0xB000, "sent"), (0xA700, "waiting"), (0xC000, "waiting")])
def test_what_a_node_refuses_waits(status: int, state: str, parts: ServerParts, result: Path) -> None:
    classes = {str(each.SOPClassUID) for each in written(result).values()}
    archive = Archive(classes, syntaxes=[ExplicitVRLittleEndian], status=status)
    there = to_node(archive.port)
    add_job(parts, [there], result)
    Queue(there, parts.database, parts.spool).send_next()
    archive.close()

    assert deliveries(parts)[0].state == state


def test_a_node_that_is_away_or_knows_us_not(parts: ServerParts, result: Path, tmp_path: Path) -> None:
    away = to_node(9)
    add_job(parts, [away], result)
    Queue(away, parts.database, parts.spool).send_next()
    assert "cannot be reached" in deliveries(parts)[0].error
    with running_node(tmp_path / "node") as running:  # it is called CSPINE, and takes no reports
        there = to_node(running.port, name="other")
        add_job(parts, [there], result, study="1.2.4")
        Queue(there, parts.database, parts.spool).send_next()
        assert "AE title" in deliveries(parts)[1].error


def test_tls_with_certificates_of_both_sides(parts: ServerParts, result: Path, tmp_path: Path) -> None:
    authority, pairs = make_certificates(tmp_path / "certificates")

    def tls(name: str) -> dict[str, Path]:
        return {"certificate": pairs[name][0], "key": pairs[name][1], "authority": authority}

    with running_node(tmp_path / "node", node={"tls": tls("node")}) as running:
        there = to_node(running.port, ae_title="CSPINE", tls=tls("scanner"))
        add_job(parts, [there], result)
        Queue(there, parts.database, parts.spool).send_next()

    assert "does not accept" in deliveries(parts)[0].error  # associated, but it is a node for CT alone


def test_a_long_delivery_keeps_its_lease(parts: ServerParts, result: Path) -> None:
    classes = {str(each.SOPClassUID) for each in written(result).values()}
    archive = Archive(classes, syntaxes=[ExplicitVRLittleEndian])
    there = to_node(archive.port)
    add_job(parts, [there], result)
    here = Queue(there, parts.database, parts.spool)
    here._lease_s = 0.001
    stop = threading.Event()
    here._stop = stop
    here.send_next()
    archive.close()

    assert deliveries(parts)[0].state == DeliveryState.SENT
