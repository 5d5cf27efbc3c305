"""Modalities: they send studies by C-STORE and STOW-RS, badly, and remember what was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

import numpy as np
import requests
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

from benchmarks.reliability.server import ServerUnderTest, is_listening

_SUCCESS: Final = 0x0000
_TIMEOUT_S: Final = 20.0
_BOUNDARY: Final = "cspine-reliability"


@dataclass(frozen=True)
class SentStudy:
    """A study that a modality sends.

    Attributes
    ----------
    study_instance_uid : str
        Its UID.
    objects : dict of str to bytes
        Files by SOPInstanceUID.
    """

    study_instance_uid: str
    objects: dict[str, bytes]


@dataclass
class Ledger:
    """What was acknowledged, and what happened on the way; shared by all modalities."""

    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    """SOP instance UIDs by StudyInstanceUID."""

    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, study: str, instance: str) -> None:
        """Record an object that was answered with success."""
        with self.lock:
            known = self.acknowledged.setdefault(study, set())
            self.counts["acknowledged"] = self.counts.get("acknowledged", 0) + 1
            if instance in known:
                self.counts["acknowledged again"] = self.counts.get("acknowledged again", 0) + 1
            known.add(instance)

    def count(self, event: str) -> None:
        """Count an event."""
        with self.lock:
            self.counts[event] = self.counts.get(event, 0) + 1


def make_study(number: int, seed: int, n_objects: int) -> SentStudy:
    """Return a study of a few small slices, which is answered at once: it is not assessable."""
    rng = np.random.default_rng([seed, number])
    study = generate_uid(entropy_srcs=["reliability", str(seed), str(number)])
    series = generate_uid(entropy_srcs=["reliability", str(seed), str(number), "series"])
    objects = {}
    for k in range(n_objects):
        dataset = _slice(study, series, k, rng)
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        objects[str(dataset.SOPInstanceUID)] = buffer.getvalue()
    return SentStudy(study, objects)


class Modality(threading.Thread):
    """Sends studies until each of their objects was acknowledged, or it gives up.

    Parameters
    ----------
    server : ServerUnderTest
        Where to.
    studies : list of SentStudy
        What.
    ledger : Ledger
        What was acknowledged.
    seed : int
        Of what goes wrong.
    by_http : bool
        STOW-RS instead of C-STORE.
    give_up_s : float
        Time for one study, s.
    """

    def __init__(
        self,
        server: ServerUnderTest,
        studies: list[SentStudy],
        ledger: Ledger,
        *,
        seed: int,
        by_http: bool = False,
        give_up_s: float = 300.0,
    ) -> None:
        super().__init__(name=f"modality-{seed}", daemon=True)
        self._server, self._studies, self._ledger = server, studies, ledger
        self._random = random.Random(seed)
        self._by_http, self._give_up_s = by_http, give_up_s

    def run(self) -> None:
        """Send all studies, one after the other."""
        for study in self._studies:
            end = time.monotonic() + self._give_up_s
            missing = dict(study.objects)
            while missing and time.monotonic() < end:
                batch = self._batch(study, missing)
                acknowledged = self._send_http(batch) if self._by_http else self._send_dicom(batch)
                for instance in acknowledged:
                    self._ledger.acknowledge(study.study_instance_uid, instance)
                    missing.pop(instance, None)
                if missing:
                    time.sleep(self._random.uniform(0.05, 0.5))
            if missing:
                self._ledger.count("studies given up by the sender")

    def _batch(self, study: SentStudy, missing: dict[str, bytes]) -> dict[str, bytes]:
        """Return what is sent now: what is missing, at times all of it again."""
        if self._random.random() < 0.1:
            self._ledger.count("sent again as a whole")
            return dict(study.objects)
        return dict(missing)

    def _send_dicom(self, batch: dict[str, bytes]) -> list[str]:
        if not is_listening(self._server.dicom_port):  # pynetdicom leaks a socket for each refused connection
            self._ledger.count("associations refused")
            return []
        entity = AE("MODALITY")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        entity.connection_timeout = 5.0
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self._server.dicom_port, ae_title="CSPINE")
        if not _is_established(association):
            self._ledger.count("associations refused")
            return []
        acknowledged: list[str] = []
        drop_at = self._random.randrange(len(batch)) if self._random.random() < 0.1 else None
        for number, (instance, data) in enumerate(batch.items()):
            if number == drop_at:
                self._ledger.count("associations dropped by the sender")
                association.abort()
                return acknowledged
            try:
                status = association.send_c_store(dcmread(BytesIO(data)))
            except (RuntimeError, ValueError):
                break
            if status and status.Status == _SUCCESS:
                acknowledged.append(instance)
            else:
                self._ledger.count("objects refused or unanswered")
            if not _is_established(association):
                break
        if _is_established(association):
            association.release()
        return acknowledged

    def _send_http(self, batch: dict[str, bytes]) -> list[str]:
        parts = []
        for data in batch.values():
            content = data
            if self._random.random() < 0.02:
                self._ledger.count("objects cut off")
                content = data[: len(data) // 4]
            parts.append(f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content + b"\r\n")
        body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
        if self._random.random() < 0.05:
            self._ledger.count("requests cut off")
            body = body[: len(body) // 2]
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        try:
            answer = requests.post(
                f"{self._server.url}/dicom-web/studies", body, headers={"Content-Type": kind}, timeout=_TIMEOUT_S
            )
            stored = answer.json().get("00081199", {}).get("Value", []) if answer.status_code in {200, 202} else []
        except (requests.RequestException, ValueError, AttributeError):
            self._ledger.count("requests unanswered")
            return []
        if answer.status_code not in {200, 202}:
            self._ledger.count("requests refused")
        return [_instance_of(item) for item in stored]


def _is_established(association: Association) -> bool:
    return bool(association.is_established)


def _instance_of(item: dict[str, Any]) -> str:
    return str(item["00081155"]["Value"][0])


def _slice(study: str, series: str, k: int, rng: np.random.Generator) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(k)])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = study[-16:], "Crash^Test"
    dataset.Modality, dataset.InstanceNumber = "CT", k + 1
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, float(k)], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = rng.integers(0, 2000, (16, 16), dtype=np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, dataset.SOPInstanceUID
    dataset.file_meta = meta
    return dataset
