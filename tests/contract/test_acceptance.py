"""`cspine acceptance` through the whole way: node, prediction, Orthanc as the archive."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.orthanc import free_port, needs_orthanc, running_orthanc

CONFIGURATION = """
[storage]
spool = "spool"
min_free_gb = 0.0

[node]
port = {node}

[web]
port = {web}

[intake]
quiet_s = 1.0

[prediction]
fhir = false

[[destinations]]
name = "pacs"
kind = "dicom"
host = "127.0.0.1"
port = {pacs}
ae_title = "ORTHANC"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str, str]]:
    """Run `cspine serve` with Orthanc as its destination; yield the node's port and both addresses."""
    with running_orthanc(tmp_path) as orthanc:
        node, web = free_port(), free_port()
        (tmp_path / "cspine.toml").write_text(CONFIGURATION.format(node=node, web=web, pacs=orthanc.dicom))
        command = [sys.executable, "-m", "cspine", "serve", "--config", str(tmp_path / "cspine.toml")]
        with (tmp_path / "server.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{web}"
            for _ in range(300):
                try:
                    requests.get(f"{url}/health", timeout=1).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.2)
            yield node, url, f"{orthanc.url}/dicom-web"
        finally:
            process.terminate()
            process.wait(30)


def acceptance(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cspine", "acceptance", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@needs_orthanc
def test_a_phantom_comes_back_right_at_the_server_and_in_the_archive(server: tuple[int, str, str]) -> None:
    node, url, archive = server
    command = [
        sys.executable,
        "-m",
        "cspine",
        "acceptance",
        "--node",
        f"127.0.0.1:{node}",
        "--json",
        "--timeout",
        "300",
    ]
    done = subprocess.run(
        [*command, "--server", url, "--archive", archive], capture_output=True, text=True, timeout=500, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["is_good"]
    assert [each["source"] for each in report["sources"]] == ["server", "archive"]
    for each in report["sources"]:
        assert each["message"] == "found"
        assert 0 < each["seconds"] < 300
    assert "Research use only" in report["notice"]


def test_a_node_that_is_away_is_named() -> None:
    done = acceptance("--node", f"127.0.0.1:{free_port()}", "--server", "http://127.0.0.1:9")

    assert done.returncode == 2
    assert "the node cannot be reached" in done.stderr
