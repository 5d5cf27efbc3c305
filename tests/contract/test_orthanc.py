"""What is written is taken by a PACS, and given back as it was: Orthanc, by C-STORE and by STOW-RS."""

import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests
from pynetdicom import AE
from tests.support.orthanc import Server, needs_orthanc, running_orthanc
from tests.support.phantom import predict_case, write_phantom

from cspine.reports.dicom.objects import write_dicom

pytestmark = [needs_orthanc, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as made:
        yield made


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
