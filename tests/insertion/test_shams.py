"""Shams against the untouched scan: what a classifier on statistics of the bone's texture can tell."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.support.intact import intact_scan, render_at

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Bools, Floats, HounsfieldUnits
from cspine.insertion.settings import InsertionSettings
from cspine.insertion.study import VirtualStudy

pytestmark = pytest.mark.slow

PLACES = tuple((level, name) for level in VERTEBRAE for name in InsertionSettings().types_of(level))
"""Every type at every level: 50 places."""

SCALES_PX = (0.6, 1.0, 1.6, 2.5)
"""Standard deviations of the Gaussians between which lie the frequency bands of a texture."""

MARGIN_PX = 8
FAINT_NOISE_HU = 4.0


def max_auc_by_chance(n_places: int) -> float:
    """Return 0.5 and two standard errors of the AUC of as many cases of either class by guessing (Mann-Whitney).

    >>> round(max_auc_by_chance(50), 3)
    0.616
    """
    return 0.5 + 2 * float(np.sqrt((2 * n_places + 1) / (12 * n_places**2)))


def test_a_classifier_tells_fractures_from_shams() -> None:
    """Both are resampled, so that the break alone differs: the classifier is strong enough to be asked about shams."""
    assert _auc("fracture", "sham") > max_auc_by_chance(len(PLACES)) + 0.1


def test_a_classifier_guesses_where_nothing_differs() -> None:
    """Two copies of the scan, each with faint noise of its own, are alike."""
    assert abs(_auc("noise", "other noise") - 0.5) < max_auc_by_chance(len(PLACES)) - 0.5


@pytest.mark.xfail(strict=True, reason="resampled bone is smoother, since the noise of soft tissue alone is restored")
def test_a_classifier_does_not_tell_shams_from_the_untouched_scan() -> None:
    assert abs(_auc("sham", "intact") - 0.5) < max_auc_by_chance(len(PLACES)) - 0.5


def _auc(kind: str, other: str) -> float:
    """Return the AUC of a classifier that is tested on vertebrae that it was not trained on."""
    features = np.concatenate([_features(kind), _features(other)])
    labels = np.repeat([1, 0], len(PLACES))
    levels = np.array([level for level, _ in PLACES] * 2)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    scores = cross_val_predict(
        classifier, features, labels, groups=levels, cv=LeaveOneGroupOut(), method="decision_function"
    )
    return float(roc_auc_score(labels, scores))


@cache
def _features(kind: str) -> Floats:
    """Return the texture at each place, (place, feature): of the bone that its sham or its fracture has touched."""
    features = []
    for number in range(len(PLACES)):
        touched = _render("sham", number).touched_mask | _render("fracture", number).touched_mask
        region = touched & (intact_scan().labels > 0)
        features.append(_texture(_hu(kind, number), region))
    return np.array(features)


def _hu(kind: str, number: int) -> HounsfieldUnits:
    hu = intact_scan().hu
    if kind in {"fracture", "sham"}:
        return _render(kind, number).hu
    if kind == "intact":
        return hu
    noise = np.random.default_rng([number, len(kind)]).normal(0.0, FAINT_NOISE_HU, hu.shape)
    return np.asarray(hu + np.rint(noise), np.int16)


@cache
def _render(kind: str, number: int) -> VirtualStudy:
    return render_at(kind, number, *PLACES[number])  # type: ignore[arg-type]  # the seed: shams are where fractures are


def _texture(hu: HounsfieldUnits, region: Bools) -> list[float]:
    """Return moments, quantiles and correlations of each frequency band, of gradients, curvature and attenuation."""
    (box,) = ndimage.find_objects(region.astype(np.uint8))
    box = tuple(slice(max(part.start - MARGIN_PX, 0), part.stop + MARGIN_PX) for part in box)
    values, inside = hu[box].astype(np.float32), region[box]
    features: list[float] = []
    before = values
    for scale in SCALES_PX:
        smooth = ndimage.gaussian_filter(values, scale)
        before, band = smooth, before - smooth
        sd = float(band[inside].std()) + 1e-6
        scaled = band / sd
        neighbors = [np.roll(scaled, lag, axis)[inside] for axis in range(3) for lag in (1, 2)]
        features += [float(np.log(sd)), *(float((scaled[inside] ** power).mean()) for power in (3, 4))]
        features += np.quantile(scaled[inside], [0.02, 0.98]).tolist()
        features += [float(np.corrcoef(scaled[inside], each)[0, 1]) for each in neighbors]
    slope = np.sqrt(sum(each**2 for each in np.gradient(values)))[inside]
    features += np.log1p(np.quantile(slope, [0.1, 0.25, 0.5, 0.75, 0.9, 0.98])).tolist()
    features += np.quantile(ndimage.laplace(values)[inside], [0.02, 0.1, 0.5, 0.9, 0.98]).tolist()
    features += np.quantile(values[inside], [0.02, 0.25, 0.5, 0.75, 0.98]).tolist()
    return features
