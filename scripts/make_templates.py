"""Average the occupancy templates of the localizer over samples of phantoms.

Run: ``python -m scripts.make_templates --data FOLDER --out templates.json``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cspine.core.files import write_json
from cspine.training.localizer.train import occupancy_templates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of coarse samples")
    parser.add_argument("--out", type=Path, required=True, help="JSON that is written")
    options = parser.parse_args()
    write_templates(sorted(options.data.glob("*.npz")), options.out)


def write_templates(samples: Sequence[Path], out: Path) -> None:
    """Write the occupancy templates of coarse samples as JSON, by level."""
    templates = occupancy_templates(samples)
    write_json(out, {level: template.model_dump(mode="json") for level, template in templates.items()})


if __name__ == "__main__":
    main()
