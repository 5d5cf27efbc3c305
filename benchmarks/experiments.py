"""How many views help, and what worse scans do: `cspine ablate` and `cspine robustness` on phantoms.

Declared before the first run: training on `TRAIN` studies of the source domain (seed 5001), judged on `JUDGED` of the
hidden one (seed 5002), 320 x 320 pixels; 1 to 21 views, nine of them the reference; the notebook's network as it is by
default, the level network in four epochs from the encoder that comes with cspine and a head that knows nothing.
Robustness is of the weights that come with cspine, on the first `WORSE` of the studies judged.

Run: ``python -m benchmarks.trials --work DIR`` (an hour and a half of two cores); interrupted, it goes on where it
stopped. Reports go to ``DIR/ablation-*`` and ``DIR/robustness``.
"""

import argparse
from pathlib import Path

from benchmarks.baseline import cspine, section_table
from benchmarks.tables import keep

TRAIN, JUDGED, WORSE = 160, 200, 40
TRAIN_SEED, JUDGED_SEED = 5001, 5002
VIEWS = "1,3,5,9,15,21"
EPOCHS = {"levels": 4, "baseline-cnn": 40}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    sets = {
        "train": (TRAIN_SEED, TRAIN, "source"),
        "judged": (JUDGED_SEED, JUDGED, "shifted"),
        "worse": (JUDGED_SEED, WORSE, "shifted"),
    }
    for name, (seed, studies, domain) in sets.items():
        cspine("synth", "--out", work / name, "--seed", seed, "--studies", studies, "--domain", domain, "--matrix", 320)
    for model, epochs in EPOCHS.items():
        options = ("--train", work / "train", "--test", work / "judged", "--views", VIEWS, "--epochs", epochs)
        cspine("ablate", *options, "--model", model, "--out", work / f"ablation-{model}")
    cspine("robustness", work / "worse", "--out", work / "robustness")
    for model in EPOCHS:
        keep(work, f"ablation-{model}", section_table(work / f"ablation-{model}" / "ablation.md", "How many views"))
    for title in ("Worse scans", "Shortcuts"):
        name = f"robustness-{title.split()[-1].lower()}"
        keep(work, name, section_table(work / "robustness" / "robustness.md", title))


if __name__ == "__main__":
    main()
