"""Crash test of the server, by a command.

Modalities send studies by C-STORE and STOW-RS while processes are killed (`kill -9`), the database is killed, the disk
is full, the clock jumps, associations are dropped, objects are cut off and sent twice. At the end every acknowledged
object has to lie in the spool and to have exactly one answer or a named failure, and the destination has to hold every
answer.

Run: ``python -m benchmarks.reliability --out DIR --studies 1000 --database postgresql`` (Debian's postgresql; a full
disk, ``--disk-mb``, needs root, who may mount a small file system). A study of a few small slices takes about a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.orthanc import free_port
from tests.support.postgresql import running_postgresql

from benchmarks.reliability.run import DatabaseServer, Plan, run_crash_test
from benchmarks.reliability.server import ServerUnderTest
from benchmarks.tables import save_table
from cspine.core.files import write_json
from cspine.reports.evaluation.sections import Table


def main() -> None:
    """Run the crash test and write ``crash-test.json``; the exit code is 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the result and of the server's log")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--modalities", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fault-seconds", type=float, default=5.0, help="mean time between two faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--disk-mb", type=int, default=0, help="size of the spool's file system; 0 for no full disk")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        n_studies=arguments.studies,
        n_modalities=arguments.modalities,
        fault_s=arguments.fault_seconds,
        seed=arguments.seed,
        drain_s=600.0,
    )
    begin = time.monotonic()
    with ExitStack() as stack:
        folder = arguments.out.resolve() / "server"
        ballast = None
        if arguments.disk_mb:
            stack.enter_context(small_disk(folder / "spool", arguments.disk_mb))
            ballast = folder / "spool" / "ballast"
        database: DatabaseServer | None = None
        if arguments.database == "postgresql":
            database = stack.enter_context(running_postgresql())
        server = ServerUnderTest(
            folder,
            dicom_port=free_port(),
            http_port=free_port(),
            pacs_port=free_port(),
            database=database.url if database is not None else "",
            workers=arguments.workers,
        )
        result = run_crash_test(
            server,
            plan,
            database=database,
            ballast=ballast,
            say=lambda text: print(f"{time.monotonic() - begin:8.1f} s  {text}", flush=True),
        )
    write_json(arguments.out / "crash-test.json", result)
    print(json.dumps(result, indent=2))
    save_table(arguments.out, f"crash-test-{arguments.database}", table_of(result))
    sys.exit(0 if result["verdict"]["is_good"] else 1)


def table_of(result: Mapping[str, Any]) -> Table:
    """Return load, faults and verdict as a table."""
    verdict, plan = result["verdict"], result["plan"]
    lost = ("lost_objects", "unanswered", "unnamed", "not_covered", "undelivered", "not_held")
    rows = [
        ("studies, of up to objects each", f"{verdict['n_studies']}, {plan['n_objects']}"),
        ("seconds", f"{result['seconds']['all']:.0f}"),
        *((f"fault: {name}", str(count)) for name, count in result["faults"].items()),
        *((f"senders: {name}", str(count)) for name, count in result["senders"].items()),
        ("destination: objects refused", str(result["refused by the destination"])),
        ("acknowledged objects", str(verdict["n_objects"])),
        *((f"answers: {name.replace('_', ' ')}", str(count)) for name, count in verdict["states"].items()),
        ("earlier answers that late objects superseded", str(verdict["n_superseded"])),
        ("answers that the destination holds", str(verdict["n_deliveries"])),
        ("objects that it got again, and holds once", str(verdict["n_repeats"])),
        *((f"verdict: {name.replace('_', ' ')}", str(len(verdict[name]))) for name in lost),
    ]
    return Table(("measure", "number"), tuple(rows))


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[None]:
    """Mount a file system in memory of some size at a folder for the block; needs root."""
    if os.getuid() != 0:
        sys.exit("--disk-mb: only root may mount a file system; leave it out")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=False)


if __name__ == "__main__":
    main()
