"""What is fuzzed of the DICOM node: it goes on, whatever comes in, and acknowledges only what is stored."""

import random
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Self

import pydicom
from pynetdicom.dsutils import decode

from cspine.server.node.commitment import INSTANCE
from cspine.server.node.contexts import STORAGE_COMMITMENT
from cspine.server.spool.folders import object_name
from tests.support.node import RunningNode, read_slices

Session = list[bytes]
"""PDUs that a client sends, in order."""

_ASSOCIATE, _DATA = 0x01, 0x04
_STORE_RESPONSE = 0x8001
_WAIT_S = 0.25
_INTERESTING = (0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x20, 0x21, 0x30, 0x40, 0x50, 0x52, 0x54, 0x58, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass
class Tally:
    """What became of the sessions."""

    sessions: int = 0
    answered: int = 0
    acknowledged: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def record_sessions(running: RunningNode, folder: Path) -> list[Session]:
    """Return valid sessions as bytes: an echo, two stores, a commitment; recorded between pynetdicom and the node."""
    one, other = read_slices(folder, 2)
    contexts = [
        (str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)),
        ("1.2.840.10008.1.1", "1.2.840.10008.1.2"),
    ]
    contexts.append((STORAGE_COMMITMENT, "1.2.840.10008.1.2"))
    request = pydicom.Dataset()
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
    request.TransactionUID, request.ReferencedSOPSequence = "1.2.3.4", [item]
    sessions = []
    for steps in (("echo",), ("store", "store"), ("echo", "store", "commit")):
        with _Recorder(running.port) as recorder:
            association = running.associate(contexts, port=recorder.port)
            stores = iter((one, other))
            for step in steps:
                if step == "echo":
                    association.send_c_echo()
                elif step == "store":
                    association.send_c_store(next(stores))
                else:
                    association.send_n_action(request, 1, STORAGE_COMMITMENT, INSTANCE)
            association.release()
        sessions.append(split_pdus(bytes(recorder.sent)))
    return sessions


def split_pdus(data: bytes) -> Session:
    """Return the PDUs of a stream."""
    pdus, position = [], 0
    while position + 6 <= len(data):
        end = position + 6 + int.from_bytes(data[position + 2 : position + 6], "big")
        pdus.append(data[position:end])
        position = end
    return pdus


def mutate(session: Session, chance: random.Random) -> Session:
    """Return a session with some damage; the association's request is spared in two thirds, so that data gets there."""
    pdus = list(session)
    for _ in range(chance.randint(1, 4)):
        first = 0 if chance.random() < 1 / 3 or len(pdus) < 2 else 1
        index = chance.randrange(first, len(pdus)) if first < len(pdus) else 0
        pdu = bytearray(pdus[index])
        if len(pdu) < 8:  # cut off already
            continue
        kind = chance.randrange(8)
        if kind == 0:
            pdu[chance.randrange(len(pdu))] = chance.choice(_INTERESTING)
        elif kind == 1:
            for _ in range(chance.randint(1, 16)):
                pdu[chance.randrange(len(pdu))] = chance.randrange(256)
        elif kind == 2:
            length = chance.choice((0, 1, 5, len(pdu), len(pdu) * 2, 2**16, 2**31, 2**32 - 1))
            pdu[2:6] = struct.pack(">L", length)
        elif kind == 3:
            del pdu[chance.randrange(1, len(pdu)) :]
        elif kind == 4:
            position = chance.randrange(6, len(pdu)) if len(pdu) > 6 else 0
            pdu[position:position] = chance.randbytes(chance.randint(1, 64))
            pdu[2:6] = struct.pack(">L", max(len(pdu) - 6, 0))
        elif kind == 5:
            pdus.insert(chance.randrange(len(pdus) + 1), bytes(pdu))
            continue
        elif kind == 6:
            other = bytes([chance.randrange(1, 9), 0]) + struct.pack(">L", 4) + bytes(4)
            pdus.insert(chance.randrange(len(pdus) + 1), other)
            continue
        elif len(pdus) > 2:
            del pdus[index]
            continue
        pdus[index] = bytes(pdu) or b"\0"
    return pdus


def run_session(port: int, session: Session, tally: Tally) -> None:
    """Send a session, wait for answers now and then, and count what was acknowledged."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for index, pdu in enumerate(session):
                connection.sendall(pdu)
                if index == 0 or pdu[:1] in {b"\x04", b"\x05"}:
                    _receive(connection, answer)
            connection.shutdown(socket.SHUT_WR)
            _receive(connection, answer, until_end=True)
        except OSError:  # the node has ended the connection
            pass
    with tally.lock:
        tally.sessions += 1
        tally.answered += bool(answer)
        tally.acknowledged |= acknowledged(bytes(answer))


def acknowledged(answer: bytes) -> set[str]:
    """Return the SOPInstanceUIDs that an answer acknowledges."""
    uids = set()
    for pdu in split_pdus(answer):
        if pdu[0] != _DATA:
            continue
        command = decode(BytesIO(pdu[12:]), True, True)
        if command.get("CommandField") == _STORE_RESPONSE and command.get("Status") == 0x0000:
            uids.add(str(command.AffectedSOPInstanceUID))
    return uids


def check(running: RunningNode, tally: Tally, folder: Path, n_threads: int) -> None:
    """Hold that everything acknowledged is stored, nothing is left over, and the node serves as before."""
    for _ in range(200):
        if not running.node.access.n_associations and threading.active_count() <= n_threads:
            break
        time.sleep(0.05)
    names = {path.name for each in running.spool.study_folders() for path in each.iterdir()}
    assert {object_name(uid) for uid in tally.acknowledged} <= names
    assert running.node.access.n_associations == 0
    assert threading.active_count() <= n_threads
    assert running.spool.incoming_files() == []
    assert running.send(read_slices(folder, 2)) == [0, 0]


class _Recorder:
    """Passes a connection on to the node, and keeps what the client sends."""

    def __init__(self, port: int) -> None:
        self.sent = bytearray()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._target)) as node:
            back = threading.Thread(target=_pass_on, args=(node, client), daemon=True)
            back.start()
            _pass_on(client, node, self.sent)
            back.join(10)


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray | None = None) -> None:
    try:
        while data := source.recv(65_536):
            if kept is not None:
                kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _receive(connection: socket.socket, answer: bytearray, *, until_end: bool = False) -> None:
    connection.settimeout(2.0 if until_end else _WAIT_S)
    try:
        while data := connection.recv(65_536):
            answer += data
            if not until_end:
                return
    except TimeoutError:
        pass
    finally:
        connection.settimeout(10.0)
