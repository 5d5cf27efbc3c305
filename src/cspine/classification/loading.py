"""The networks that read studies, by their weights."""

from pathlib import Path

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.core.errors import WeightsError
from cspine.localization.loading import load_localizer
from cspine.models.registry import resolve


def load_classifier(
    *weights: str | Path, localizer: str | None = None, tta: bool = False
) -> Baseline | LevelClassifier:
    """Load the network, or the networks to be averaged, that weights are of.

    Parameters
    ----------
    *weights : str or Path
        Files, or names of weights at hand (`cspine weights` lists them).
    localizer : str, optional
        The localizer to find vertebrae with; that of the weights where left out.
    tta : bool
        Whether level networks look at necks in a mirror too.

    Raises
    ------
    WeightsError
        The weights cannot be used, tell no fractures, or cannot be averaged.
    """
    found = [resolve(each) for each in weights]
    for name, (network, _) in zip(weights, found, strict=True):
        if network == "localizer":
            raise WeightsError(f"{name}: finds vertebrae but tells no fractures; `cspine localize` takes it")
        if network != "levels" and (len(found) > 1 or tta or localizer is not None):
            raise WeightsError(f"{name}: averages, flips and localizers are for level networks; this is {network}")
    paths = [path for _, path in found]
    if found[0][0] == "baseline-cnn":
        return Baseline.load(paths[0])
    return LevelClassifier.load(*paths, localizer=load_localizer(localizer) if localizer else None, tta=tta)
