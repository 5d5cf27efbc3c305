"""Write the localizer's training samples of real scans, from the frames that readers marked.

Run: ``python -m scripts.make_real_samples --real DIR --templates JSON --out runs/weights/real``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cspine.core.typing import Floats
from cspine.dicom import load_volume
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.training.localizer.annotated import annotated_sample
from cspine.training.localizer.examples import FINE_MM, fine_box

REFERENCE = Path(__file__).parents[1] / "benchmarks" / "reference" / "real_ct_vertebrae.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder of real CT")
    parser.add_argument("--templates", type=Path, required=True, help="JSON of occupancy templates by level")
    parser.add_argument("--out", type=Path, required=True, help="gets coarse/ and fine/")
    options = parser.parse_args()
    write_real_samples(options.real, options.templates, options.out)


def write_real_samples(real: Path, templates_file: Path, out: Path) -> None:
    """Write the samples of all scans of the reference.

    Parameters
    ----------
    real : Path
        Folder of real CT.
    templates_file : Path
        JSON of occupancy templates by level.
    out : Path
        Gets ``coarse`` and ``fine``.
    """
    stored = json.loads(templates_file.read_text(encoding="utf-8"))
    templates = {level: OccupancyTemplate.model_validate(value) for level, value in stored.items()}
    for name, scan in json.loads(REFERENCE.read_text(encoding="utf-8"))["scans"].items():
        frames = frames_of(scan)
        if frames:
            write_samples(Scan.of(load_volume(real / scan["path"])), frames, templates, name, out)


def frames_of(scan: dict[str, Any]) -> dict[str, Floats]:
    """Return the marked frames of a scan, (4, 4) by level."""
    frames = {}
    for level, vertebra in scan["vertebrae"].items():
        if vertebra["origin_lps_mm"] is None or vertebra["axes"] is None:
            continue
        frame = np.eye(4)
        frame[:3, :3] = np.array(vertebra["axes"])
        frame[:3, 3] = vertebra["origin_lps_mm"]
        frames[level] = frame
    return frames


def write_samples(
    scan: Scan, frames: dict[str, Floats], templates: dict[str, OccupancyTemplate], name: str, out: Path
) -> None:
    """Write the coarse and the fine sample of a scan."""
    box = fine_box(frames, scan.extent_lps_mm)
    for folder, sample in (
        ("coarse", annotated_sample(scan, frames, templates, COARSE_MM)),
        ("fine", annotated_sample(scan, frames, templates, FINE_MM, box)),
    ):
        (out / folder).mkdir(parents=True, exist_ok=True)
        sample.save(out / folder / f"{name}.npz")


if __name__ == "__main__":
    main()
