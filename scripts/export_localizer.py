"""Put the networks of the localizer's stages into one weights file.

Run: ``python -m scripts.export_localizer --region A --vertebrae B --frames C --templates T --levels L --out FILE``.
"""

import argparse
import json
from pathlib import Path

import torch

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import read_json
from cspine.core.settings import digest
from cspine.models.metadata import LocalizerMetadata
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.training.localizer.networks import NETWORKS
from cspine.training.localizer.train import export_localizer

RECIPE = Path(__file__).parent / "recipes" / "localizer.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in NETWORKS:
        parser.add_argument(f"--{name}", type=Path, required=True, help="network.pt of its last stage")
    parser.add_argument("--templates", type=Path, required=True, help="JSON of scripts.make_templates")
    parser.add_argument("--levels", type=Path, help="JSON of scripts.fit_levels; the defaults where omitted")
    parser.add_argument("--trained-on", required=True, help="training data, for people")
    parser.add_argument("--has-real", action="store_true", help="real scans are among the training data")
    parser.add_argument("--out", type=Path, required=True, help="weights file that is written")
    options = parser.parse_args()
    networks = {}
    for name, recipe in NETWORKS.items():
        networks[name] = recipe.build()
        networks[name].load_state_dict(torch.load(getattr(options, name), weights_only=True))
    levels = read_json(options.levels) if options.levels else {}
    recipe_json = read_json(RECIPE) if RECIPE.is_file() else {}
    metadata = LocalizerMetadata(
        trained_on=options.trained_on,
        phantom_only=not options.has_real,
        software=__version__,
        training={"recipe": RECIPE.name},
        settings_hash=digest(recipe_json)[:16],
        data_hash=digest(recipe_json)[:16],
        statement=RESEARCH_USE_ONLY,
        occupancy_templates=json.loads(options.templates.read_text(encoding="utf-8")),
        level_assignment=LevelAssignmentSettings.model_validate(levels),
    )
    export_localizer(networks, metadata, options.out)


if __name__ == "__main__":
    main()
