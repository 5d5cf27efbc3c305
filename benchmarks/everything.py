"""All benchmarks, one after the other, and the page that shows their tables (several hours of two cores).

Timings want a machine that does nothing else. What was finished is not run again; an interrupted benchmark goes on as
far as it can.

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

RUNS: Final[dict[str, Sequence[str]]] = {
    "baseline": (),
    "shifted": (),
    "side_by_side": (),
    "trials": (),
    "predict": ("--rounds", "5", "--syntaxes", *SYNTAXES),
    "imaging": (),
    "compiled_vs_dicom": (),
    "compile_memory": ("--data", "{runs}/baseline/train"),
    "rounds": (
        "--store", "{weights}/levels-data-2005", "--run", "{weights}/levels-3", "--tta", "--weights",
        "second round={weights}/levels-2/weights.onnx", "third round (shipped)={weights}/levels-3/weights.onnx",
    ),
}  # fmt: skip
"""Each benchmark's options, but for ``--work``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="gets a folder for each benchmark")
    parser.add_argument("--weights", type=Path, help="of `make weights`; without it the rounds are left out")
    options = parser.parse_args()
    for name, more in RUNS.items():
        work = options.work / name
        if (work / _DONE).is_file() or (name == "rounds" and options.weights is None):
            continue
        work.mkdir(parents=True, exist_ok=True)
        chosen = [part.format(runs=options.work, weights=options.weights) for part in more]
        print(f"{name} ...", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--work", str(work), *chosen], check=True)
        (work / _DONE).touch()
    subprocess.run([sys.executable, "-m", "benchmarks.tables", str(options.work)], check=True)


if __name__ == "__main__":
    main()
