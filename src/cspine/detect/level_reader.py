"""The level network: each vertebra through its views, and what they say together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.anatomy import VERTEBRAE, Level
from cspine.detect.card import LevelsCard, OperatingPoint
from cspine.detect.evidence import strongest_place
from cspine.detect.localize import Localizer
from cspine.detect.reading import EvidencePicture, Reading
from cspine.detect.weights import Weights, load_weights
from cspine.errors import WeightsError
from cspine.evaluate.kaggle import unweighted
from cspine.findings import KindFinding, OperatingPointName, PatientFinding, VertebraFinding
from cspine.reformat.level_views import CHANNELS, PLANES, LevelViews, view_numbers, view_places
from cspine.reformat.spine_map import Vertebra
from cspine.reformat.study import CompiledStudy, CompiledVolume, Compiler

Floats = npt.NDArray[np.float64]

_PICTURES: Final = 3
"""Views shown of each suspicious vertebra: the strongest of each plane."""

_KINDS: Final = 3

_UNSURE: Final = 0.8
"""A level less sure than this is said to be uncertain."""


@dataclass(frozen=True)
class Scores:
    """What the network says of one neck, raw.

    Attributes
    ----------
    levels : (7,) float
        Plain probabilities; NaN where a vertebra is absent.
    overall : float
    kinds : (7, kinds) float
    evidence : (7, views, rows / 8, columns / 8) float32
    """

    levels: Floats
    overall: float
    kinds: Floats
    evidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class LevelReader:
    """A level network with the localizer that finds its vertebrae.

    Attributes
    ----------
    weights : Weights
        Of the level network.
    localizer : Localizer
    """

    weights: Weights[LevelsCard]
    localizer: Localizer

    @classmethod
    def load(cls, path: Path | None = None, localizer: Localizer | None = None) -> "LevelReader":
        """Load the network; the embedded one where no path is given.

        Raises
        ------
        WeightsError
            The file cannot be used.
        """
        weights = load_weights(LevelsCard, path)
        size = weights.card.views.pixels
        if weights.input_shape[1] != len(VERTEBRAE) or weights.input_shape[3:] != (CHANNELS, size, size):
            raise WeightsError(f"{path or weights.card.name}: its network does not fit its own card; get it again")
        return cls(weights, localizer or Localizer.load())

    @property
    def card(self) -> LevelsCard:
        """What the weights say of themselves."""
        return self.weights.card

    @property
    def compiler(self) -> Compiler:
        """How studies are compiled for it."""
        return Compiler(self.card.images, self.localizer)

    def scores(self, levels: tuple[LevelViews, ...]) -> Scores:
        """Return what the network says of a neck's views."""
        chosen = view_numbers(self.card.views, self.card.seen)
        planes, offsets = view_places(self.card.views)
        size = self.card.views.pixels
        images = np.zeros((len(VERTEBRAE), len(chosen), CHANNELS, size, size), np.float32)
        present = np.zeros(len(VERTEBRAE), np.bool_)
        for views in levels:
            number = VERTEBRAE.index(views.level)
            present[number] = True
            np.divide(views.views[chosen], np.float32(255.0), out=images[number])
        given = {
            "views": images[None],
            "planes": planes[chosen][None],
            "offsets": offsets[chosen][None],
            "present": present[None],
        }
        said, overall, kinds, evidence = self.weights.session.run(["levels", "overall", "kinds", "evidence"], given)
        weight = self.card.positive_weight
        plain = np.where(present, unweighted(said[0].astype(np.float64), positive_weight=weight), np.nan)
        together = float(unweighted(overall.astype(np.float64), positive_weight=weight)[0])
        return Scores(plain, together, kinds[0].astype(np.float64), evidence[0])

    def read(self, compiled: CompiledStudy) -> Reading:
        """Say what is found in a study."""
        scores = self.scores(compiled.images.levels)
        raw = {level: float(value) for level, value in zip(VERTEBRAE, scores.levels, strict=True)}
        overall = float(self.card.calibration_overall.apply(scores.overall))
        patient = PatientFinding(
            probability=overall, raw_probability=scores.overall, above=_above(self.card.points_overall, overall)
        )
        views = {found.level: found for found in compiled.images.levels}
        vertebrae, pictures = [], []
        for number, level in enumerate(VERTEBRAE):
            if level not in views:
                vertebrae.append(_absent(compiled.images, level))
                continue
            shown = self._pictures(views[level], scores.evidence[number], compiled)
            finding = self._vertebra(level, raw[level], scores.kinds[number], compiled.images, shown)
            vertebrae.append(finding)
            if finding.above:
                pictures += shown
        return Reading(patient, tuple(vertebrae), pictures=tuple(pictures))

    def _vertebra(
        self, level: Level, raw: float, kinds: Floats, images: CompiledVolume, shown: list[EvidencePicture]
    ) -> VertebraFinding:
        vertebra = _of(images, level)
        probability = float(self.card.calibration_level.apply(raw))
        above = _above(self.card.points_level, probability)
        likely: list[int] = np.argsort(-kinds)[:_KINDS].tolist() if above else []
        x, y, z = vertebra.centroid_lps_mm.tolist()
        return VertebraFinding(
            level=level,
            probability=probability,
            raw_probability=raw,
            above=above,
            coverage=vertebra.coverage,
            confidence=vertebra.confidence,
            centroid_lps_mm=(x, y, z),
            kinds=tuple(KindFinding(name=self.card.kinds[kind], probability=float(kinds[kind])) for kind in likely),
            evidence=tuple(picture.evidence for picture in shown),
            reasons=(*_reasons(vertebra), *images.faults.get(level, ())),
        )

    def _pictures(
        self, views: LevelViews, evidence: npt.NDArray[np.float32], compiled: CompiledStudy
    ) -> list[EvidencePicture]:
        """Return the strongest view of each plane, the strongest first."""
        chosen, planes = view_numbers(self.card.views, self.card.seen), view_places(self.card.views)[0]
        found = []
        for kind in range(len(PLANES)):
            places = np.flatnonzero(planes[chosen] == kind)
            if len(places):
                best = int(places[evidence[places].max(axis=(1, 2)).argmax()])
                view = int(chosen[best])
                place = strongest_place(views, view, evidence[best], compiled.series)
                image = views.images[CHANNELS * view + CHANNELS // 2]
                found.append(EvidencePicture(views.level, place, image, evidence[best]))
        return sorted(found, key=lambda picture: -picture.evidence.strength)[:_PICTURES]


def _above(points: tuple[OperatingPoint, ...], probability: float) -> tuple[OperatingPointName, ...]:
    return tuple(point.name for point in points if probability >= point.threshold)


def _of(images: CompiledVolume, level: Level) -> Vertebra:
    if images.spine is None:  # pragma: no cover - these weights' compiler localises
        raise AssertionError("a study was compiled without a localizer")
    return images.spine[level]


def _absent(images: CompiledVolume, level: Level) -> VertebraFinding:
    found = images.spine.cervical[level] if images.spine else None
    reason = "outside the field of view" if found is None else "almost wholly outside the field of view"
    return VertebraFinding(level=level, probability=None, coverage="absent", reasons=(reason,))


def _reasons(vertebra: Vertebra) -> tuple[str, ...]:
    found = []
    if vertebra.coverage == "cut":
        found.append(f"partly outside the field of view: {100 * vertebra.share:.0f} % was scanned")
    if vertebra.confidence < _UNSURE:
        found.append(f"its level is uncertain ({100 * vertebra.confidence:.0f} %)")
    return tuple(found)
