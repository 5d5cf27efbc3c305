"""Peak memory of `cspine compile` in one process against the number of studies.

Memory must not grow with the data set: each study is loaded, compiled and released before the next.

Run: ``python -m benchmarks.compile_memory --data PHANTOM --work DIR``, PHANTOM being a data set of `cspine synth`.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.processes import measure_process
from benchmarks.tables import save_table
from cspine.reports.evaluation.sections import Table

STUDY_COUNTS = (1, 4, 16, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data set of cspine synth, with 64 studies or more")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--counts", type=int, nargs="+", default=STUDY_COUNTS, help="numbers of studies")
    options = parser.parse_args()
    studies = sorted((options.data / "train_images").iterdir())
    if len(studies) < max(options.counts):
        parser.error(f"{options.data}: holds {len(studies)} studies, {max(options.counts)} are needed")
    rows = []
    for count in options.counts:
        subset = _link_studies(studies[:count], options.work / f"first-{count}")
        largest = max(sum(file.stat().st_size for file in study.iterdir()) for study in studies[:count])
        cost = measure_process(
            sys.executable, "-m", "cspine", "compile", str(subset), "--out", str(subset / "compiled"), "--workers", "1"
        )
        rows.append((str(count), f"{largest / 1e6:.0f}", f"{cost.peak_mb:.0f}"))
    save_table(options.work, "compile-memory", Table(("studies", "largest volume MB", "peak MB"), tuple(rows)))


def _link_studies(studies: list[Path], root: Path) -> Path:
    """Make a data set of symbolic links to some studies."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "train_images").mkdir(parents=True)
    for study in studies:
        (root / "train_images" / study.name).symlink_to(study.resolve())
    return root


if __name__ == "__main__":
    main()
