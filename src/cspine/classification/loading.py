"""Loading of classifiers from the registry of weights."""

from dataclasses import replace
from pathlib import Path

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.core.errors import WeightsError
from cspine.localization.loading import load_localizer
from cspine.models.operating_points import OF_WEIGHTS, OperatingPointsFile
from cspine.models.providers import ProviderName
from cspine.models.registry import resolve_weights


def load_classifier(
    *weights: str | Path,
    localizer: str | None = None,
    tta: bool = False,
    points_file: OperatingPointsFile | None = None,
    provider: ProviderName | None = None,
) -> Baseline | LevelClassifier:
    """Load a classifier; several weights make an ensemble.

    Parameters
    ----------
    *weights : str or Path
        Names of registered weights (``cspine weights`` lists them), or paths of ONNX files.
    localizer : str, optional
        Name or path of the localizer's weights; where omitted, the localizer that the weights were trained with.
    tta : bool
        Whether level networks use test-time augmentation by the left-right flip.
    points_file : OperatingPointsFile, optional
        Operating points and recalibration in place of those of level networks.
    provider : str, optional
        The execution provider, as of `cspine.models.providers.requested_provider`.

    Raises
    ------
    WeightsError
        The weights cannot be used, do not classify fractures, or cannot be averaged; or the operating points are for
        others.
    """
    resolved = [resolve_weights(each) for each in weights]
    for name, (network, _) in zip(weights, resolved, strict=True):
        if network == "localizer":
            raise WeightsError(f"{name}: localizes vertebrae but does not classify fractures; use `cspine localize`")
        if network != "levels" and (len(resolved) > 1 or tta or localizer is not None):
            raise WeightsError(
                f"{name}: ensembles, test-time augmentation and localizers need level networks; this is {network}"
            )
    paths = [path for _, path in resolved]
    if resolved[0][0] == "baseline-cnn":
        if points_file is not None:
            raise WeightsError(
                f"{points_file.path}: {weights[0]} has no calibrated probabilities; use --operating-points {OF_WEIGHTS}"
            )
        return Baseline.load(paths[0], provider=provider)
    own = load_localizer(localizer, provider=provider) if localizer else None
    classifier = LevelClassifier.load(*paths, localizer=own, tta=tta, provider=provider)
    if points_file is not None:
        points_file.require(classifier.identity.sha256)
    return replace(classifier, points_file=points_file)
