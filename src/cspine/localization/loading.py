"""Loading of localizers from the registry of weights."""

from cspine.core.errors import WeightsError
from cspine.localization.localizer import Localizer
from cspine.models.providers import ProviderName
from cspine.models.registry import embedded_sha256, installed_files, resolve_weights


def load_localizer(weights: str | None = None, *, provider: ProviderName | None = None, threads: int = 0) -> Localizer:
    """Load a localizer.

    Parameters
    ----------
    weights : str, optional
        A name of registered weights, or the path of an ONNX file; the embedded localizer where omitted.
    provider : str, optional
        The execution provider, as of `cspine.models.providers.requested_provider`.
    threads : int
        Threads of an operator; as many as this process may use where 0. Sums depend on them in the last digits.

    Raises
    ------
    WeightsError
        The weights cannot be used, or are those of another network.
    """
    if weights is None:
        return Localizer.load(provider=provider, threads=threads)
    network, path = resolve_weights(weights)
    if network != "localizer":
        raise WeightsError(f"{weights}: holds the network {network}; name a localizer")
    return Localizer.load(path, provider=provider, threads=threads)


def find_localizer(sha256: str, provider: ProviderName | None = None) -> Localizer:
    """Return the registered localizer whose file has a SHA-256; the embedded one where none has it."""
    if embedded_sha256().get("localizer.onnx") != sha256:
        for path, recorded in installed_files():
            if recorded == sha256:
                return load_localizer(str(path), provider=provider)
    return Localizer.load(provider=provider)
