"""A study from a slow store: compiled from the disk, and from an S3 server that waits before each answer.

The store is moto's server on loopback, in a process of its own, which waits for ``--latency-ms`` before it answers a
request. The study has the size of a real one, 300 slices of 512 x 512 pixels; it is the embedded phantom, magnified.
*Without* read ahead every file is requested when it is decoded, by as many threads as there are processors. Each
measurement is a fresh process.

Run: ``python -m benchmarks.remote --work DIR``
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import run_module
from benchmarks.tables import save_table
from cspine.reports.evaluation.sections import Table

N_SLICES, N_PIXELS = 300, 512
BUCKET = "benchmark"
SOURCES = ("disk", "store", "store-ahead")
NAMES = {
    "disk": "disk",
    "store": "store, without read ahead",
    "store-ahead": "store, with read ahead",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=50.0, help="time before each answer")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, of which the median is reported")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--source", choices=SOURCES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.latency_ms / 1000)
    elif options.source:
        print(json.dumps(measure(options.work, options.source)))
    else:
        compare(options.work, options.latency_ms, options.repeats)


def compare(work: Path, latency_ms: float, repeats: int) -> None:
    folder = work / "study"
    if not folder.is_dir():
        write_study(folder)
    with running_server(latency_ms):
        upload(folder)
        measured: dict[str, list[dict[str, float]]] = {source: [] for source in SOURCES}
        for _ in range(repeats):
            for source in SOURCES:
                measured[source].append(run_module("benchmarks.remote", "--work", work, "--source", source))
    medians = {
        source: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for source, runs in measured.items()
    }
    disk = medians["disk"]
    rows = tuple(
        (
            NAMES[source],
            f"{median['headers_s']:.1f}",
            f"{median['load_s']:.1f}",
            f"{median['total_s']:.1f}",
            f"{median['total_s'] / disk['total_s']:.2f}",
        )
        for source, median in medians.items()
    )
    print(
        f"{N_SLICES} slices of {N_PIXELS} x {N_PIXELS} pixels ({size_mb(folder):.0f} MB), {latency_ms:.0f} ms for each "
        f"request of the store, {os.cpu_count()} processors, medians of {repeats}"
    )
    columns = ("Source", "Headers (s)", "Volume (s)", "Whole compilation (s)", "Relative to the disk")
    save_table(work, "remote", Table(columns, rows))


def write_study(folder: Path) -> None:
    """Write the embedded phantom, magnified to the size of a real scan."""
    import numpy as np
    import scipy
    from tests.support.dicom import write_series
    from tests.support.phantom import write_phantom

    from cspine.dicom.loading import load_volume

    volume = load_volume(write_phantom(folder.with_name("phantom")))
    factors = np.array([N_SLICES, N_PIXELS, N_PIXELS]) / volume.array.shape
    hu = scipy.ndimage.zoom(volume.array, factors, order=1)
    k_mm, j_mm, i_mm = (float(mm) for mm in np.array(volume.spacing) / factors)
    write_series(folder, hu, spacing=(k_mm, j_mm, i_mm))


def measure(work: Path, source: str) -> dict[str, float]:
    """Compile the study from one source in this process; return seconds."""
    from cspine.core.storage.read_ahead import READ_AHEAD
    from cspine.dicom.loading import open_series
    from cspine.localization.compiler import Compiler, compile_study
    from cspine.localization.loading import load_localizer
    from cspine.views.settings import CompileSettings

    if source == "store":
        READ_AHEAD.max_objects = 0
    compiler = Compiler(CompileSettings(), load_localizer(None))
    started = time.perf_counter()
    plan = open_series(str(work / "study") if source == "disk" else f"s3://{BUCKET}/study")
    opened = time.perf_counter()
    plan.load()
    loaded = time.perf_counter()
    compile_study(plan, compiler)
    ended = time.perf_counter()
    return {
        "headers_s": opened - started,
        "load_s": loaded - opened,
        "total_s": opened - started + ended - loaded,
    }


# --- the store -------------------------------------------------------------------------------------------------------


@contextmanager
def running_server(latency_ms: float) -> Iterator[None]:
    """Run the store in a process of its own, and name it in the environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--work", ".", "--serve", str(port), "--latency-ms", str(latency_ms)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.remote", *arguments])
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(20)


def serve(port: int, latency_s: float) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from tests.support.object_store import ObjectStore, quiet_handler
    from werkzeug.serving import make_server

    application = ObjectStore(latency_s=latency_s).wrap(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", port, application, threaded=True, request_handler=quiet_handler()).serve_forever()


def upload(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import boto3

    from cspine.core.storage.locations import as_path

    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket=BUCKET)
    target = as_path(f"s3://{BUCKET}/study")
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda path: (target / path.name).write_bytes(path.read_bytes()), folder.iterdir()))


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


if __name__ == "__main__":
    main()
