"""Run all benchmarks and evaluations one after the other, and set the page that shows their tables (several hours).

Timings need a machine that does nothing else. A finished benchmark is not run again; an interrupted one resumes where
it can.

Run: ``python -m benchmarks.everything --work RUNS``; then ``python -m benchmarks.tables RUNS`` sets the page again.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_DONE: Final = "done"

SYNTAXES: Final = ("uncompressed", "jpeg-lossless", "jpeg-2000")

STAGES: Final = "scripts.evaluate_stages"

RUNS: Final[dict[str, Sequence[str]]] = {
    "benchmarks.baseline": (),
    "scripts.evaluate_shifted": (),
    "benchmarks.repeatability": (),
    "benchmarks.side_by_side": (),
    "benchmarks.experiments": (),
    "benchmarks.predict": ("--repeats", "5", "--syntaxes", *SYNTAXES),
    "benchmarks.outputs": ("--repeats", "5"),
    "benchmarks.imaging": (),
    "benchmarks.compiled_vs_dicom": (),
    "benchmarks.compile_memory": ("--data", "{runs}/baseline/train"),
    "benchmarks.startup": ("--install",),
    "benchmarks.rehearsal": (),
    STAGES: (
        "--data", "{weights}/levels-data-2005", "--run", "{weights}/levels-3", "--tta", "--weights",
        "stage 2={weights}/levels-2/weights.onnx", "stage 3 (shipped)={weights}/levels-3/weights.onnx",
    ),
}  # fmt: skip
"""Each module's options besides ``--work``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that gets one run folder per benchmark")
    parser.add_argument(
        "--weights", type=Path, help="work folder of `make weights`; without it training stages are not evaluated"
    )
    options = parser.parse_args()
    for module, arguments in RUNS.items():
        work = options.work / module.split(".")[1]
        if (work / _DONE).is_file() or (module == STAGES and options.weights is None):
            continue
        work.mkdir(parents=True, exist_ok=True)
        filled = [argument.format(runs=options.work, weights=options.weights) for argument in arguments]
        print(f"{module} ...", flush=True)
        subprocess.run([sys.executable, "-m", module, "--work", str(work), *filled], check=True)
        (work / _DONE).touch()
    subprocess.run([sys.executable, "-m", "benchmarks.tables", str(options.work)], check=True)


if __name__ == "__main__":
    main()
