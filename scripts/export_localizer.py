"""Put the networks of the localizer's last stages into one weights file.

Run: ``python -m scripts.export_localizer --runs RUNS --templates T --levels L --out FILE``.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import read_json
from cspine.core.settings import digest
from cspine.models.metadata import LocalizerMetadata
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.training.localizer.networks import NETWORKS, NetworkName
from cspine.training.localizer.train import export_localizer
from scripts.localizer_stages import NETWORK_FILE, NEVER_TRAINED_ON, STAGES

TRAINED_ON: Final = (
    "body phantoms, and real CT: openkbp (Babier et al., ababier/open-kbp, MIT), fullHead (VTK data, Kitware, "
    "BSD-3-Clause), demo-archive (nroduit, CC BY 4.0), Visible Human Project (U.S. National Library of Medicine), "
    "dcm_qa_ct (neurolabusc, BSD-2-Clause), LIDC-IDRI, CT COLONOGRAPHY (ACRIN 6664) and Lung-Fused-CT-Pathology "
    "(The Cancer Imaging Archive, CC BY 3.0)"
)
"""Sources and licences, which NOTICE states in full."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs of all stages")
    parser.add_argument("--templates", type=Path, required=True, help="JSON of scripts.make_templates")
    parser.add_argument("--levels", type=Path, help="JSON of scripts.fit_levels; the defaults where omitted")
    parser.add_argument("--trained-on", default=TRAINED_ON, help="training data, for people")
    parser.add_argument("--out", type=Path, required=True, help="weights file that is written")
    options = parser.parse_args()
    files = {network: options.runs / last_stage(network) / NETWORK_FILE for network in NETWORKS}
    export_networks(files, options.templates, options.levels, options.out, options.trained_on)


def last_stage(network: NetworkName) -> str:
    """Return the name of the last stage of a network."""
    return [name for name, stage in STAGES.items() if stage.network == network][-1]


def export_networks(
    files: Mapping[NetworkName, Path],
    templates: Path,
    levels: Path | None,
    out: Path,
    trained_on: str = TRAINED_ON,
    *,
    without: Sequence[str] = NEVER_TRAINED_ON,
) -> None:
    """Write networks to one weights file.

    Parameters
    ----------
    files : dict
        Each network's weights, as `scripts.localizer_stages.train_stage` writes them.
    templates : Path
        JSON of occupancy templates by level.
    levels : Path or None
        JSON of the numbers of the level assignment; the defaults where None.
    out : Path
        File that is written.
    trained_on : str
        Training data, for people.
    without : sequence of str
        Real scans that were held out.
    """
    networks = {}
    for name, recipe in NETWORKS.items():
        networks[name] = recipe.build()
        networks[name].load_state_dict(torch.load(files[name], weights_only=True))
    stages = {name: asdict(stage) for name, stage in STAGES.items()}
    metadata = LocalizerMetadata(
        trained_on=trained_on,
        phantom_only=False,
        software=__version__,
        training={"stages": stages},
        settings_hash=digest(stages)[:16],
        data_hash=digest([stages, trained_on, [*without]])[:16],
        statement=RESEARCH_USE_ONLY,
        occupancy_templates=read_json(templates),
        level_assignment=LevelAssignmentSettings.model_validate(read_json(levels) if levels else {}),
    )
    export_localizer(networks, metadata, out)


if __name__ == "__main__":
    main()
