"""Accuracy of the baseline: `baseline-cnn` trained on phantoms of one seed and evaluated on those of another.

Declared before the first run: training seed 101 (300 studies), test seed 202 (100 studies), default training settings.
Nothing is chosen on the test studies.

Run: ``python -m benchmarks.baseline --work DIR``; an interrupted run resumes.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.tables import save_table
from cspine.cli import app

TRAIN_SEED, TEST_SEED = 101, 202
TABLES = {"baseline-ranking": "Discrimination", "baseline-loss": "RSNA 2022 challenge loss"}
"""Tables of the benchmarks' page, and the section of the evaluation report that each is copied from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--train", type=int, default=300, help="number of training studies")
    parser.add_argument("--test", type=int, default=100, help="number of test studies")
    options = parser.parse_args()
    work = options.work
    for name, seed, studies in (("train", TRAIN_SEED, options.train), ("test", TEST_SEED, options.test)):
        run_cspine("synth", "--out", work / name, "--seed", seed, "--studies", studies, "--matrix", 256)
        run_cspine("compile", work / name, "--out", work / f"{name}-compiled")
    run_cspine("train", "--data", work / "train-compiled", "--model", "baseline-cnn", "--out", work / "run")
    run_cspine("evaluate", "--run", work / "run", "--data", work / "test-compiled", "--out", work / "evaluation")
    for name, section in TABLES.items():
        save_table(work, name, read_section_table(work / "evaluation" / "evaluation.md", section))


def read_section_table(report: Path, title: str) -> str:
    """Read the table of one section of a Markdown report.

    Parameters
    ----------
    report : Path
        Report of `cspine evaluate`, `cspine ablate` or `cspine robustness`.
    title : str
        Heading of the section.
    """
    parts = report.read_text(encoding="utf-8").split(f"\n## {title}\n")
    if len(parts) < 2:
        sys.exit(f"{report}: has no section {title!r}; name one of its headings")
    section = parts[1].split("\n## ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|")) + "\n"


def run_cspine(*arguments: object) -> None:
    """Run a command of the command line in this process; any exit code but 0 ends the benchmark."""
    code = app([str(argument) for argument in arguments], standalone_mode=False)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
