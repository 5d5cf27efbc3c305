"""The networks that read studies, by their weights."""

from pathlib import Path

from cspine.detect.baseline import Baseline
from cspine.detect.level_reader import LevelReader
from cspine.detect.shelf import resolve
from cspine.errors import WeightsError


def load_reader(weights: str | Path) -> Baseline | LevelReader:
    """Load the network that weights are of.

    Parameters
    ----------
    weights : str or Path
        A file, or the name of weights at hand (`cspine weights` lists them).

    Raises
    ------
    WeightsError
        The weights cannot be used, or tell no fractures.
    """
    network, path = resolve(weights)
    if network == "localizer":
        raise WeightsError(f"{weights}: finds vertebrae but tells no fractures; `cspine localize` takes it")
    return Baseline.load(path) if network == "baseline-cnn" else LevelReader.load(path)
