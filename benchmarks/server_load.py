"""Load of the server: studies per hour beside `predict` in batch, reception beside dcmtk's storescp, and memory.

- *Prediction*: the same studies by `cspine predict --dicom --fhir` in one batch and by one worker of the server.
- *Reception*: four associations send the studies to dcmtk's ``storescp``, to the idle node, and to the node while a
  worker predicts. All run on this machine, so that the network is memory.
- *Memory* of every process while many small studies come in, and the time to the first connection after a start.

Run: ``python -m benchmarks.server_load --work DIR [--studies 4] [--small 500]``; Debian's dcmtk is needed.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid
from sqlalchemy import func, select
from tests.support.orthanc import free_port

from benchmarks.imaging import prepare_series
from benchmarks.processes import measure_process
from benchmarks.reliability.archive import Archive
from benchmarks.reliability.senders import Ledger, Modality, make_study
from benchmarks.reliability.server import ServerUnderTest, is_listening
from benchmarks.reliability.verdict import is_idle
from benchmarks.tables import save_table
from cspine.core.files import write_json
from cspine.reports.evaluation.sections import Table
from cspine.server.database.tables import Job, JobState

STORE_SCP: Final = shutil.which("storescp")
STORE_SCU: Final = shutil.which("storescu")

_N_ASSOCIATIONS: Final = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of studies, servers and results")
    parser.add_argument("--studies", type=int, default=4, help="studies of 350 slices")
    parser.add_argument("--small", type=int, default=500, help="small studies while memory is watched; 0 for none")
    options = parser.parse_args()
    if STORE_SCP is None or STORE_SCU is None:
        sys.exit("dcmtk's storescp and storescu are not installed; install Debian's dcmtk")
    options.work.mkdir(parents=True, exist_ok=True)
    series = prepare_series(options.work, "uncompressed")
    studies = [write_copy(series, options.work / "studies" / str(number), number) for number in range(options.studies)]
    result: dict[str, Any] = {
        "prediction": measure_prediction(options.work, studies),
        "reception": measure_reception(options.work, studies),
    }
    if options.small:
        result["memory"] = measure_memory(options.work, options.small)
    write_json(options.work / "server-load.json", result)
    save_table(options.work, "server-load", table_of(result))


def write_copy(source: Path, folder: Path, number: int) -> Path:
    """Write a series as a study and patient of its own, and return its folder."""
    study, series = (generate_uid(entropy_srcs=["load", str(number), part]) for part in ("study", "series"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        dataset = dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(dataset.InstanceNumber)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = f"load-{number}"
        dataset.save_as(folder / path.name)
    return folder


def measure_prediction(work: Path, studies: list[Path]) -> dict[str, float]:
    """Return seconds of one study, in a batch of `predict` and by a worker, without the start of either.

    The start is taken out by two batches, of all studies and of one; the worker's time is that from the first to the
    last answer.
    """
    one, many = work / "one", work / "many"
    for folder in (one, many):
        shutil.rmtree(folder, ignore_errors=True)
    batch = [sys.executable, "-m", "cspine", "predict", "--dicom", "--fhir", "--workers", "1"]
    first = measure_process(*batch, str(studies[0]), "--out", str(one)).seconds
    every = measure_process(*batch, str(studies[0].parent), "--out", str(many)).seconds
    server = new_server(work / "prediction", workers=0)
    with running(server):
        send_all(server.dicom_port, studies)
        database, _ = server.open()
        wait_for(lambda: _count(database, JobState.COMPLETE) == len(studies))
        worker = subprocess.Popen(
            [sys.executable, "-m", "cspine", "serve", "--config", str(server.configuration), "--only", "worker"]
        )
        try:
            wait_for(lambda: _count(database, JobState.DONE) >= 1)
            begin = time.monotonic()
            wait_for(lambda: _count(database, JobState.DONE) == len(studies))
            by_worker = (time.monotonic() - begin) / (len(studies) - 1)
        finally:
            worker.terminate()
            worker.wait()
            database.close()
    return {"batch": (every - first) / (len(studies) - 1), "worker": by_worker}


def measure_reception(work: Path, studies: list[Path]) -> dict[str, float]:
    """Return megabytes per second of four associations to storescp, to the idle node, and to one beside a worker."""
    size_mb = sum(path.stat().st_size for study in studies for path in study.iterdir()) / 1e6
    rates: dict[str, float] = {}
    port, folder = free_port(), work / "storescp"
    folder.mkdir(exist_ok=True)
    command = [str(STORE_SCP), "--fork", "-od", str(folder), str(port)]
    peer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), 30.0)
        rates["storescp"] = median(size_mb / send_all(port, studies, "ANY-SCP") for _ in range(3))
    finally:
        peer.terminate()
        peer.wait()
    for name, workers in (("node, idle", 0), ("node beside a worker", 1)):
        times = []
        for _ in range(3):
            server = new_server(work / "reception", workers=workers)
            with running(server):
                if workers:
                    send_all(server.dicom_port, studies[:1])
                    database, _spool = server.open()
                    wait_for(lambda database=database: _count(database, JobState.RUNNING) == 1)  # type: ignore[misc]
                    database.close()
                times.append(send_all(server.dicom_port, studies))
        rates[name] = size_mb / median(times)
    return rates


def measure_memory(work: Path, n_studies: int) -> dict[str, Any]:
    """Return the resident memory of every process after a fifth and after all of many small studies, MB."""
    server = new_server(work / "memory", workers=1)
    ledger = Ledger()
    studies = [make_study(number, 5, 3) for number in range(n_studies)]
    with running(server) as seconds:
        samples: list[dict[str, float]] = []
        for part in (studies[: n_studies // 5], studies[n_studies // 5 :]):
            modalities = [Modality(server, part[n::4], ledger, seed=n) for n in range(4)]
            for modality in modalities:
                modality.start()
            for modality in modalities:
                modality.join()
            database, _ = server.open()
            wait_for(lambda database=database: is_idle(database), limit_s=3600.0)  # type: ignore[misc]
            database.close()
            samples.append(resident_mb(server))
    return {"start_s": seconds, "early": samples[0], "late": samples[1], "studies": n_studies}


def table_of(result: dict[str, Any]) -> Table:
    """Return everything as a table."""
    prediction, reception = result["prediction"], result["reception"]
    rows = [
        ["seconds per study: worker / batch of predict", f"{prediction['worker']:.2f} / {prediction['batch']:.2f}"],
        ["ratio (at most 1.15)", f"{prediction['worker'] / prediction['batch']:.2f}"],
        *([f"reception, MB/s: {name}", f"{rate:.1f}"] for name, rate in reception.items()),
    ]
    if memory := result.get("memory"):
        rows += [["seconds from start to first connection", f"{memory['start_s']:.1f}"]]
        rows += [
            [
                f"memory of {role}, MB: after {memory['studies'] // 5} / {memory['studies']} studies",
                f"{early:.0f} / {late:.0f}",
            ]
            for role, early in memory["early"].items()
            if (late := memory["late"].get(role)) is not None
        ]
    return Table(("measure", "value"), tuple((name, value) for name, value in rows))


def new_server(folder: Path, *, workers: int) -> ServerUnderTest:
    """Return a server in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    return ServerUnderTest(
        folder, dicom_port=free_port(), http_port=free_port(), pacs_port=free_port(), workers=workers, quiet_s=1.0
    )


@contextmanager
def running(server: ServerUnderTest) -> Iterator[float]:
    """Run a server with its destination for the block, and yield the seconds until it accepts connections."""
    with ExitStack() as stack:
        stack.enter_context(Archive(server.pacs_port, refused_fraction=0.0).running())
        begin = time.monotonic()
        server.start()
        stack.callback(server.stop)
        server.wait()
        yield time.monotonic() - begin


def send_all(port: int, studies: list[Path], ae_title: str = "CSPINE") -> float:
    """Send studies by four associations at a time and return the seconds."""
    waiting = list(studies)
    failures: list[int] = []

    def send() -> None:
        while waiting:
            try:
                study = waiting.pop()
            except IndexError:
                return
            command = [str(STORE_SCU), "-aec", ae_title, "+sd", "127.0.0.1", str(port), str(study)]
            code = subprocess.run(command, capture_output=True, check=False).returncode
            if code:
                failures.append(code)

    threads = [threading.Thread(target=send) for _ in range(_N_ASSOCIATIONS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"storescu failed with exit status {failures[0]}")
    return time.monotonic() - begin


def resident_mb(server: ServerUnderTest) -> dict[str, float]:
    """Return the resident memory of each role, and of the process in which a worker predicts, MB."""
    found = {}
    for role in ("keeper", "node", "web", "sender", "worker"):
        for pid in server.processes(role)[:1]:
            found[role] = _resident_mb(pid)
            if role == "worker":
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
                found["predictor"] = max((_resident_mb(int(child)) for child in children), default=0.0)
    return found


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) * 1024 / 1e6


def wait_for(is_true: Callable[[], bool], limit_s: float = 900.0) -> None:
    """Wait until something is true; a benchmark that waits for too long ends."""
    end = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > end:
            sys.exit(f"nothing happened for {limit_s:g} s")
        time.sleep(0.05)


def _count(database: Any, state: JobState) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.count()).select_from(Job).where(Job.state == state)) or 0)


if __name__ == "__main__":
    main()
