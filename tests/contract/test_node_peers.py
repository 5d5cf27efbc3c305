"""Programs of others send to the node: dcmtk's echoscu and storescu, and Orthanc with storage commitment."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from tests.support.codecs import SYNTAXES
from tests.support.node import make_certificates, read_slices, running_node
from tests.support.orthanc import Server, needs_orthanc, running_orthanc
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom's sockets

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="storescu (Debian's dcmtk)")

COMPRESSED = {"jpeg-lossless-sv1": "-xs", "jpeg-ls": "-xt", "jpeg-2000-lossless": "-xv", "rle": "-xr"}
"""Options of storescu that propose a transfer syntax."""


def write_files(folder: Path, n: int = 3, syntax: str = "explicit") -> list[Path]:
    """Write a small series with SOP classes and return its files."""
    chosen = next(each for each in SYNTAXES if each.name == syntax)
    paths = []
    for number, dataset in enumerate(read_slices(folder, n, syntax=chosen)):
        paths.append(folder / f"{number}.dcm")
        dataset.save_as(paths[-1])
    return paths


def instances(paths: list[Path]) -> set[str]:
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}


def dcmtk(*command: str | Path | int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, timeout=60)


@needs_dcmtk
def test_echoscu(tmp_path: Path) -> None:
    with running_node(tmp_path) as running:
        assert dcmtk("echoscu", "-aec", "CSPINE", "127.0.0.1", running.port).returncode == 0
        assert dcmtk("echoscu", "-aec", "OTHER", "127.0.0.1", running.port).returncode != 0


@needs_dcmtk
def test_storescu(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "files", 5)
    with running_node(tmp_path) as running:
        done = dcmtk("storescu", "-aec", "CSPINE", "127.0.0.1", running.port, *paths)

        assert done.returncode == 0, done.stderr
        assert running.stored() == instances(paths)


@needs_dcmtk
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_storescu_sends_compressed_objects_as_they_are(syntax: str, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "files", 2, syntax)
    with running_node(tmp_path) as running:
        done = dcmtk("storescu", COMPRESSED[syntax], "-aec", "CSPINE", "127.0.0.1", running.port, *paths)

        assert done.returncode == 0, done.stderr
        assert running.stored() == instances(paths)


@needs_dcmtk
def test_storescu_with_tls(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "files", 2)
    authority, pairs = make_certificates(tmp_path / "certificates")
    tls = {"certificate": pairs["node"][0], "key": pairs["node"][1], "authority": authority}
    call = ["-aec", "CSPINE", "127.0.0.1"]
    with running_node(tmp_path, node={"tls": tls}) as running:
        certificate, key = pairs["scanner"]
        secure: list[str | Path | int] = [
            "storescu",
            "+tls",
            key,
            certificate,
            "+cf",
            authority,
            *call,
            running.port,
            *paths,
        ]
        done, plain = dcmtk(*secure), dcmtk("storescu", *call, running.port, *paths)

        assert done.returncode == 0, done.stderr
        assert plain.returncode != 0
        assert running.stored() == instances(paths)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as made:
        yield made


@needs_orthanc
def test_orthanc_sends_and_gets_a_storage_commitment(orthanc: Server, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "files", 4)
    orthanc.clear()
    orthanc.store(paths)
    peer = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom}
    with running_node(tmp_path, node={"commitment_peers": [peer]}) as running:
        modality = f"{orthanc.url}/modalities/cspine"
        entry: dict[str, Any] = {
            "AET": "CSPINE",
            "Host": "127.0.0.1",
            "Port": running.port,
            "AllowStorageCommitment": True,
        }
        requests.put(modality, json=entry, timeout=10).raise_for_status()
        studies = requests.get(f"{orthanc.url}/studies", timeout=10).json()
        body: dict[str, Any] = {"Resources": studies, "Synchronous": True, "StorageCommitment": True}
        answer = requests.post(f"{modality}/store", json=body, timeout=60)
        answer.raise_for_status()
        transaction = answer.json()["StorageCommitmentTransactionUID"]

        report: dict[str, object] = {}
        for _ in range(100):
            report = requests.get(f"{orthanc.url}/storage-commitment/{transaction}", timeout=10).json()
            if report["Status"] != "Pending":
                break
            time.sleep(0.2)

        assert running.stored() == instances(paths)
        assert report["Status"] == "Success"
        assert isinstance(report["Success"], list)
        assert {each["SOPInstanceUID"] for each in report["Success"]} == instances(paths)
        assert report["Failures"] == []
