"""Orthanc with its DICOMweb plugin, started on loopback for a test."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

ORTHANC = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

needs_orthanc = pytest.mark.skipif(
    ORTHANC is None or not PLUGIN.exists(), reason="Orthanc (Debian's orthanc, orthanc-dicomweb)"
)


@dataclass(frozen=True)
class Server:
    """Orthanc on loopback."""

    http: int
    dicom: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def store(self, paths: list[Path]) -> None:
        for path in paths:
            requests.post(f"{self.url}/instances", path.read_bytes(), timeout=60).raise_for_status()

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


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Server]:
    """Run Orthanc, which keeps its files in a folder."""
    made = Server(free_port(), free_port())
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
        "HttpPort": made.http, "DicomPort": made.dicom, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True, "UnknownSopClassAccepted": True,
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(300):
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


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
