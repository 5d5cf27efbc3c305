"""What is written is taken by a PACS, and given back as it was: Orthanc, by C-STORE and by STOW-RS."""

import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests
from pynetdicom import AE
from tests.support.phantom import predict_case, write_phantom

from cspine.reports.dicom.objects import write_dicom

ORTHANC = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

pytestmark = [
    pytest.mark.skipif(ORTHANC is None or not PLUGIN.exists(), reason="Orthanc (Debian's orthanc, orthanc-dicomweb)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@dataclass(frozen=True)
class Server:
    """Orthanc on loopback."""

    http: int
    dicom: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def stored(self) -> dict[str, bytes]:
        """Return every instance's file by its SOPInstanceUID."""
        found = {}
        for name in requests.get(f"{self.url}/instances", timeout=10).json():
            tags = requests.get(f"{self.url}/instances/{name}/simplified-tags", timeout=10).json()
            found[tags["SOPInstanceUID"]] = requests.get(f"{self.url}/instances/{name}/file", timeout=30).content
        return found

    def clear(self) -> None:
        for name in requests.get(f"{self.url}/patients", timeout=10).json():
            requests.delete(f"{self.url}/patients/{name}", timeout=10)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("orthanc")
    made = Server(free_port(), free_port())
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
        "HttpPort": made.http, "DicomPort": made.dicom, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True, "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(150):
            try:
                requests.get(f"{made.url}/system", timeout=1).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.2)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield made
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    return write_dicom(predict_case(write_phantom(folder / "study")), folder / "dicom")


def same(written: Path, back: bytes) -> None:
    """Hold that an object comes back as it was, pixels too; only the file's meta information may differ."""
    one, other = pydicom.dcmread(written), pydicom.dcmread(BytesIO(back))
    assert one.file_meta.TransferSyntaxUID == other.file_meta.TransferSyntaxUID
    assert one == other


def test_objects_are_taken_by_c_store_and_come_back_identical(server: Server, objects: list[Path]) -> None:
    server.clear()
    datasets = [pydicom.dcmread(path) for path in objects]
    node = AE(ae_title="CSPINE")
    for kind in {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in datasets}:
        node.add_requested_context(kind[0], kind[1])

    association = node.associate("127.0.0.1", server.dicom)
    assert association.is_established
    try:
        statuses = [association.send_c_store(dataset).Status for dataset in datasets]
    finally:
        association.release()

    assert statuses == [0x0000] * len(objects)
    stored = server.stored()
    assert len(stored) == len(objects)
    for path, dataset in zip(objects, datasets, strict=True):
        same(path, stored[dataset.SOPInstanceUID])


def test_objects_are_taken_by_stow_and_come_back_identical(server: Server, objects: list[Path]) -> None:
    server.clear()
    boundary = uuid.uuid4().hex
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
        for path in objects
    ]
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}

    answer = requests.post(
        f"{server.url}/dicom-web/studies", b"".join([*parts, f"--{boundary}--".encode()]), headers=headers, timeout=60
    )

    assert answer.status_code == 200
    assert not answer.json().get("00081198", {}).get("Value")  # the sequence of what failed
    stored = server.stored()
    assert len(stored) == len(objects)
    for path in objects:
        same(path, stored[pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID])
