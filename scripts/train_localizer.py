"""Train one network of the localizer for one stage (`scripts.localizer_stages`).

Run: ``python -m scripts.train_localizer vertebrae-2 --data DIR --out RUNS --real DIR``; an interrupted run resumes.
``--without`` holds real scans out, for networks by which these scans are evaluated.
"""

import argparse
from pathlib import Path

import torch

from scripts.localizer_stages import STAGES, train_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--data", type=Path, required=True, help="folder of the phantoms, coarse-SEED and fine-SEED")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs of all stages")
    parser.add_argument("--real", type=Path, help="folder of samples of real scans")
    parser.add_argument("--without", nargs="*", default=[], help="real scans that are held out")
    options = parser.parse_args()
    torch.set_num_threads(1)  # networks are trained side by side; one thread each wastes no time on waiting
    print(train_stage(options.stage, options.data, options.out, real=options.real, without=options.without))


if __name__ == "__main__":
    main()
