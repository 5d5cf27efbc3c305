"""The localizers at hand."""

from cspine.core.errors import WeightsError
from cspine.localization.localizer import Localizer
from cspine.models.registry import embedded_sums, resolve, shelved_paths


def load_localizer(weights: str | None = None) -> Localizer:
    """Load a localizer by its name or file; the embedded one where left out.

    Raises
    ------
    WeightsError
        The weights cannot be used, or are of another network.
    """
    if weights is None:
        return Localizer.load()
    network, path = resolve(weights)
    if network != "localizer":
        raise WeightsError(f"{weights}: holds the network {network}; name a localizer")
    return Localizer.load(path)


def find_localizer(sha256: str) -> Localizer:
    """Return the localizer at hand whose file has this hash; the embedded one where none has."""
    if embedded_sums().get("localizer.onnx") != sha256:
        for path, found in shelved_paths():
            if found == sha256:
                return load_localizer(str(path))
    return Localizer.load()
