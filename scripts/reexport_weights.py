"""Write the graph of shipped weights anew, with the same parameters: after a change of how networks are exported.

Outputs may differ by rounding only, so that the level network, which names the localizers that it was measured with,
accepts a new file of the localizer, too. Run: ``python -m scripts.reexport_weights localizer|levels``.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from cspine.core.errors import WeightsError
from cspine.core.files import read_json, write_bytes, write_json
from cspine.core.typing import Floats32
from cspine.localization.cascade.crops import CROP_SHAPE
from cspine.models.metadata import LevelsMetadata, LocalizerMetadata, ModelMetadata
from cspine.models.weights import load_weights
from cspine.training.export import export_onnx, read_parameters
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.localizer.networks import NETWORKS
from cspine.training.localizer.train import export_localizer
from cspine.views.level_views import PLANES
from scripts import accept_localizer
from scripts.make_weights import RECIPES, SHIPPED, file_sha256, write_checksums

_TOLERANCE = 1e-5
"""Largest accepted difference of an output: probabilities, and positions in cm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=REEXPORTS, help="weights that ship with the package")
    name = parser.parse_args().name
    shipped = SHIPPED / f"{name}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / shipped.name
        REEXPORTS[name](shipped, exported)
        write_bytes(shipped, exported.read_bytes())
    write_json(RECIPES / f"{name}.json", read_json(RECIPES / f"{name}.json") | {"sha256": file_sha256(shipped)})
    if name == "localizer":
        accept_localizer.main()
    else:
        write_checksums()


def reexport_localizer(source: Path, target: Path) -> None:
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
    rng = np.random.default_rng(0)
    shapes = {"region": (1, 2, 32, 48, 32), "image": (1, 2, 48, 32, 32), "crops": (2, 2, *CROP_SHAPE)}
    inputs = {name: rng.uniform(-1.0, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}
    _check_outputs(LocalizerMetadata, source, target, inputs)


def reexport_levels(source: Path, target: Path) -> None:
    """Export a level network anew; arguments and errors as of `reexport_localizer`."""
    pretrained = load_pretrained(source)
    metadata = pretrained.metadata
    network = pretrained.network(metadata.fracture_types)
    export_onnx(level_graph(network, metadata.views, metadata.inference_views), metadata, target)
    rng, views, side = np.random.default_rng(0), 3 * len(PLANES), metadata.views.pixels
    inputs = {
        "views": rng.random((2, 7, views, 3, side, side), np.float32),
        "planes": np.arange(views)[None].repeat(2, axis=0) % len(PLANES),
        "offsets": np.linspace(-30.0, 30.0, views, dtype=np.float32)[None].repeat(2, axis=0),
        "present": np.arange(14).reshape(2, 7) != 3,
    }
    _check_outputs(LevelsMetadata, source, target, inputs)


def _check_outputs(kind: type[ModelMetadata], source: Path, target: Path, inputs: Mapping[str, Any]) -> None:
    """Raise `WeightsError` if the outputs of two files differ by more than rounding."""
    before, after = (_outputs(kind, path, inputs) for path in (source, target))
    difference = max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True))
    if not difference <= _TOLERANCE:
        raise WeightsError(f"{target}: the outputs differ by {difference:.1e} from those of {source}")


def _outputs(kind: type[ModelMetadata], path: Path, inputs: Mapping[str, Any]) -> list[Floats32]:
    return load_weights(kind, path).session.run(None, inputs)


REEXPORTS: Final[dict[str, Callable[[Path, Path], None]]] = {"localizer": reexport_localizer, "levels": reexport_levels}

if __name__ == "__main__":
    main()
