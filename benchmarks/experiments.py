"""How many views help, and how accuracy falls with image quality: `cspine ablate` and `cspine robustness` on phantoms.

Declared before the first run: training on `N_TRAIN` studies of the source domain (seed 5001), evaluation on `N_TEST` of
the shifted domain (seed 5002), 320 x 320 pixels; 1 to 21 views with nine as the reference; the notebook's network with
default settings, the level network for four epochs from the encoder that comes with cspine and a randomly initialized
head. Robustness is that of the weights that come with cspine, on the first `N_PERTURBED` of the evaluated studies.

Run: ``python -m benchmarks.experiments --work DIR`` (an hour and a half of two cores); an interrupted run resumes.
Reports go to ``DIR/ablation-*`` and ``DIR/robustness``.
"""

import argparse
from pathlib import Path

from benchmarks.baseline import read_section_table, run_cspine
from benchmarks.tables import save_table

N_TRAIN, N_TEST, N_PERTURBED = 160, 200, 40
TRAIN_SEED, TEST_SEED = 5001, 5002
VIEWS = "1,3,5,9,15,21"
EPOCHS = {"levels": 4, "baseline-cnn": 40}
ABLATION_SECTION = "Number of views"
ROBUSTNESS_SECTIONS = {"scans": "Robustness to image degradation", "shortcuts": "Shortcut learning"}
"""Tables of the benchmarks' page, and the section of the robustness report that each is copied from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    work = parser.parse_args().work
    datasets = {
        "train": (TRAIN_SEED, N_TRAIN, "source"),
        "test": (TEST_SEED, N_TEST, "shifted"),
        "perturbed": (TEST_SEED, N_PERTURBED, "shifted"),
    }
    for name, (seed, studies, domain) in datasets.items():
        options = ("--seed", seed, "--studies", studies, "--domain", domain, "--matrix", 320)
        run_cspine("synth", "--out", work / name, *options)
    for model, epochs in EPOCHS.items():
        options = ("--train", work / "train", "--test", work / "test", "--views", VIEWS, "--epochs", epochs)
        run_cspine("ablate", *options, "--model", model, "--out", work / f"ablation-{model}")
    run_cspine("robustness", work / "perturbed", "--out", work / "robustness")
    for model in EPOCHS:
        report = work / f"ablation-{model}" / "ablation.md"
        save_table(work, f"ablation-{model}", read_section_table(report, ABLATION_SECTION))
    for name, title in ROBUSTNESS_SECTIONS.items():
        save_table(work, f"robustness-{name}", read_section_table(work / "robustness" / "robustness.md", title))


if __name__ == "__main__":
    main()
