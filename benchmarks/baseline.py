"""The baseline to beat: `baseline-cnn` trained on phantom studies of one seed, judged on those of another.

Declared before the first run: training seed 101 (300 studies), test seed 202 (100 studies), training settings as they
are by default. The test studies choose nothing.

Run: ``python -m benchmarks.baseline --work DIR``; interrupted, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cspine.cli import app

TRAIN_SEED, TEST_SEED = 101, 202


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--test", type=int, default=100)
    options = parser.parse_args()
    work = options.work
    for name, seed, studies in (("train", TRAIN_SEED, options.studies), ("test", TEST_SEED, options.test)):
        _cspine("synth", "--out", work / name, "--seed", seed, "--studies", studies, "--matrix", 256)
        _cspine("compile", work / name, "--out", work / f"{name}-compiled")
    _cspine("train", "--data", work / "train-compiled", "--model", "baseline-cnn", "--out", work / "run")
    _cspine("evaluate", "--run", work / "run", "--data", work / "test-compiled", "--out", work / "evaluation")
    sys.stdout.write((work / "evaluation" / "evaluation.md").read_text(encoding="utf-8"))


def _cspine(*arguments: object) -> None:
    """Run a command as its user would; anything but success ends the benchmark."""
    code = app([str(argument) for argument in arguments], standalone_mode=False)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
