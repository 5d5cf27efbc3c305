"""Train one network of the localizer for one stage of its recipe (``recipes/localizer.json``).

Run: ``python -m scripts.train_localizer vertebrae --data PHANTOMS --out RUN``; an interrupted run resumes. Samples are
written by `cspine.training.localizer.examples.write_phantom_set` and `scripts.make_real_samples`.
"""

import argparse
from pathlib import Path

import torch
from benchmarks.progress import log_progress
from torch import nn

from cspine.training.curves import draw_curves
from cspine.training.localizer.networks import NETWORKS
from cspine.training.localizer.train import split_samples
from cspine.training.settings import TrainerSettings
from cspine.training.trainer import fit, open_fabric

MAX_VALIDATION = 24
"""Phantoms of the validation set."""

NETWORK_FILE = "network.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of samples of phantoms")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--init", type=Path, help="network.pt of the stage before")
    parser.add_argument("--real", type=Path, help="folder of samples of real scans")
    parser.add_argument("--repeat", type=int, default=1, help="patches of each real scan per epoch")
    parser.add_argument("--without", nargs="*", default=[], help="real scans that are held out")
    for name in ("epochs", "batch-size", "learning-rate", "ema-decay", "seed", "schedule"):
        default = TrainerSettings.model_fields[name.replace("-", "_")].default
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)  # two networks are trained side by side; one thread each wastes no time on waiting
    fields = {name: getattr(options, name) for name in TrainerSettings.model_fields if hasattr(options, name)}
    settings, recipe = TrainerSettings(**fields, workers=0), NETWORKS[options.network]
    files = [path for folder in options.data for path in sorted(folder.glob("*.npz"))]
    train, validation = split_samples(files, settings.batch_size)
    if options.real is not None:
        real = [path for path in sorted(options.real.glob("*.npz")) if path.stem not in options.without]
        train += real * options.repeat

    def build() -> nn.Module:
        network = recipe.build()
        if options.init is not None:
            network.load_state_dict(torch.load(options.init, weights_only=True))
        return network

    options.out.mkdir(parents=True, exist_ok=True)
    task = recipe.task(train, validation[:MAX_VALIDATION], settings)
    progress = log_progress(options.out / "progress.log")
    result = fit(open_fabric(settings), build, task, options.out, settings, stage=options.network, progress=progress)
    if result is not None:
        torch.save(result.network.state_dict(), options.out / NETWORK_FILE)
        draw_curves(options.out, result.curve, title=f"localizer, {options.network}", is_phantom=options.real is None)


if __name__ == "__main__":
    main()
