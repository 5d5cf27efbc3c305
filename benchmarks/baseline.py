"""The baseline to beat: `baseline-cnn` trained on phantom studies of one seed, judged on those of another.

Declared before the first run: training seed 101 (300 studies), test seed 202 (100 studies), training settings as they
are by default. The test studies choose nothing.

Run: ``python -m benchmarks.baseline --work DIR``; interrupted, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.tables import keep
from cspine.cli import app

TRAIN_SEED, TEST_SEED = 101, 202
SECTIONS = {"baseline-ranking": "Ranking", "baseline-loss": "Challenge log loss"}
"""Of the evaluation, whose tables the benchmarks' page shows, by their names there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--test", type=int, default=100)
    options = parser.parse_args()
    work = options.work
    for name, seed, studies in (("train", TRAIN_SEED, options.studies), ("test", TEST_SEED, options.test)):
        cspine("synth", "--out", work / name, "--seed", seed, "--studies", studies, "--matrix", 256)
        cspine("compile", work / name, "--out", work / f"{name}-compiled")
    cspine("train", "--data", work / "train-compiled", "--model", "baseline-cnn", "--out", work / "run")
    cspine("evaluate", "--run", work / "run", "--data", work / "test-compiled", "--out", work / "evaluation")
    for name, section in SECTIONS.items():
        keep(work, name, section_table(work / "evaluation" / "evaluation.md", section))


def section_table(page: Path, title: str) -> str:
    """Return the table of a section of a report in Markdown."""
    section = page.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|")) + "\n"


def cspine(*arguments: object) -> None:
    """Run a command as its user would; anything but success ends the benchmark."""
    code = app([str(argument) for argument in arguments], standalone_mode=False)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
