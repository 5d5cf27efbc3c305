"""Write the shipped localizer's graph anew, with the same weights: after a change of how networks are exported.

Outputs may differ by rounding only, so that the level network, which names the localizers that it was measured with,
accepts the new file, too. Run: ``python -m scripts.reexport_localizer``.
"""

import tempfile
from pathlib import Path

import numpy as np

from cspine.core.errors import WeightsError
from cspine.core.files import read_json, write_bytes, write_json
from cspine.core.typing import Floats32
from cspine.localization.cascade.crops import CROP_SHAPE
from cspine.models.metadata import LocalizerMetadata
from cspine.models.weights import load_weights
from cspine.training.export import read_parameters
from cspine.training.localizer.networks import NETWORKS
from cspine.training.localizer.train import export_localizer
from scripts import accept_localizer
from scripts.make_weights import RECIPES, SHIPPED, file_sha256

_TOLERANCE = 1e-5
"""Largest accepted difference of an output: probabilities, and positions in cm."""


def main() -> None:
    shipped = SHIPPED / "localizer.onnx"
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / shipped.name
        reexport(shipped, exported)
        write_bytes(shipped, exported.read_bytes())
    write_json(RECIPES / "localizer.json", read_json(RECIPES / "localizer.json") | {"sha256": file_sha256(shipped)})
    accept_localizer.main()


def reexport(source: Path, target: Path) -> None:
    """Export the networks of a localizer anew.

    Parameters
    ----------
    source, target : Path
        ONNX files.

    Raises
    ------
    WeightsError
        The outputs differ by more than rounding.
    """
    data, networks = source.read_bytes(), {}
    for name, recipe in NETWORKS.items():
        networks[name] = recipe.build()
        networks[name].load_state_dict(read_parameters(data, f"{name}."), strict=False)  # counters are not exported
    export_localizer(networks, load_weights(LocalizerMetadata, source).metadata, target)
    difference = max(
        float(np.abs(one - other).max()) for one, other in zip(_outputs(source), _outputs(target), strict=True)
    )
    if not difference <= _TOLERANCE:
        raise WeightsError(f"{target}: the outputs differ by {difference:.1e} from those of {source}")


def _outputs(path: Path) -> list[Floats32]:
    """Return a localizer's outputs for inputs drawn at random, the same for every file."""
    rng = np.random.default_rng(0)
    shapes = {"region": (1, 2, 32, 48, 32), "image": (1, 2, 48, 32, 32), "crops": (2, 2, *CROP_SHAPE)}
    inputs = {name: rng.uniform(-1.0, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}
    return load_weights(LocalizerMetadata, path).session.run(None, inputs)


if __name__ == "__main__":
    main()
