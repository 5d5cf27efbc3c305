"""Whether compiling is flat in memory: peak memory of one process against the number of studies.

Run: ``python -m benchmarks.compile_memory --data PHANTOM --work DIR``, PHANTOM being a data set of `cspine synth`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.tables import keep
from cspine.reports.evaluation.sections import Table

COUNTS = (1, 4, 16, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    folders = sorted((options.data / "train_images").iterdir())
    rows = []
    for count in COUNTS:
        root = options.work / f"first-{count}"
        shutil.rmtree(root, ignore_errors=True)
        (root / "train_images").mkdir(parents=True)
        for folder in folders[:count]:
            (root / "train_images" / folder.name).symlink_to(folder.resolve())
        largest = max(sum(file.stat().st_size for file in folder.iterdir()) for folder in folders[:count])
        rows.append((str(count), f"{largest / 1e6:.0f}", f"{_peak_mb(root, root / 'compiled'):.0f}"))
    keep(options.work, "compile-memory", Table(("studies", "largest volume MB", "peak MB"), tuple(rows)))


def _peak_mb(root: Path, out: Path) -> float:
    """Compile in a process of its own and return its peak resident memory."""
    command = [sys.executable, "-m", "cspine", "compile", str(root), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"compiling {root} failed")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
