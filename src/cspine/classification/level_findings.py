"""What findings record of a vertebra and of a patient: probabilities with their operating points, types and reasons."""

from typing import Final, NamedTuple

import numpy as np

from cspine.classification.prediction import EvidencePicture
from cspine.core.anatomy import Level
from cspine.core.findings import (
    MIN_CERTAIN_CONFIDENCE,
    OPERATING_POINTS,
    FractureTypeFinding,
    OperatingPointName,
    PatientFinding,
    Threshold,
    VertebraFinding,
    alternatives_of,
)
from cspine.core.typing import Floats
from cspine.models.metadata import OLD_FRACTURE_TYPE, UNSPECIFIED_TYPE, LevelsMetadata
from cspine.spine.spine_map import Vertebra
from cspine.views.compiled import CompiledVolume

_N_FRACTURE_TYPES: Final = 3
"""Fracture types that are reported of a vertebra."""


_LEVEL_IS_UNCERTAIN: Final = "its level is uncertain"


class Probabilities(NamedTuple):
    """Probability of a fracture of a vertebra: calibrated, before calibration, and with bridged gaps as evidence."""

    calibrated: float
    raw: float
    bridged: float


def patient_finding(
    points: tuple[Threshold, ...],
    *,
    probability: float,
    raw_probability: float,
    vertebrae: list[VertebraFinding],
    bridged_probability: float = 0.0,
    n_lost_files: int = 0,
) -> PatientFinding:
    """Return the finding of the patient.

    A patient with a level in the scan that was not found reaches ``rule-out`` at any probability, with or without such
    an operating point: nothing is known of that level, so that no fracture is ruled out. Neither is one that only
    evidence in bridged gaps suggests.

    Parameters
    ----------
    points : tuple of Threshold
        The operating points in use.
    probability, raw_probability : float
        Probability of any fracture, calibrated and before calibration.
    vertebrae : list of VertebraFinding
        C1 to C7; the reasons name those that the probability does not cover, or not reliably.
    bridged_probability : float
        The probability with the evidence in bridged gaps.
    n_lost_files : int
        Files of the study that most likely held slices and could not be read; the reasons name them, too.
    """
    thresholds = {point.name: point.patient for point in points}
    is_lacking = any(each.not_found for each in vertebrae)
    return PatientFinding(
        probability=probability,
        raw_probability=raw_probability,
        operating_points_reached=_find_reached(
            thresholds, probability, is_not_ruled_out=is_lacking or _reaches_any(thresholds, bridged_probability)
        ),
        reasons=_patient_reasons(vertebrae, n_lost_files),
    )


def vertebra_finding(
    metadata: LevelsMetadata,
    level: Level,
    images: CompiledVolume,
    *,
    points: tuple[Threshold, ...],
    probabilities: Probabilities,
    fracture_types: Floats,
    pictures: list[EvidencePicture],
) -> VertebraFinding:
    """Return the finding of a vertebra that was scanned.

    Parameters
    ----------
    metadata : LevelsMetadata
        Metadata of the network, with its fracture types.
    level : str
        Name of the vertebra, C1 to C7.
    images : CompiledVolume
        The case, with the localized vertebra and its image-quality problems.
    points : tuple of Threshold
        The operating points in use.
    probabilities : Probabilities
        Probability of a fracture; one that only evidence in bridged gaps suggests is not ruled out.
    fracture_types : (types,)
        Probability of each fracture type; they are reported where an operating point is reached.
    pictures : list of EvidencePicture
        Its evidence, strongest first.
    """
    vertebra, thresholds = _vertebra_of(images, level), {point.name: point.level for point in points}
    reached = _find_reached(
        thresholds, probabilities.calibrated, is_not_ruled_out=_reaches_any(thresholds, probabilities.bridged)
    )
    x, y, z = vertebra.centroid_lps_mm.tolist()
    return VertebraFinding(
        level=level,
        probability=probabilities.calibrated,
        raw_probability=probabilities.raw,
        operating_points_reached=reached,
        coverage=vertebra.coverage,
        scanned_fraction=min(max(vertebra.scanned_fraction, 0.0), 1.0),
        confidence=vertebra.confidence,
        alternatives=alternatives_of(vertebra.alternatives),
        centroid_lps_mm=(x, y, z),
        fracture_types=likely_fracture_types(metadata, level, fracture_types) if reached else (),
        old_fracture_probability=_old_fracture_probability(metadata, fracture_types),
        evidence=tuple(picture.evidence for picture in pictures),
        reasons=(*_vertebra_reasons(vertebra, images), *images.image_quality_problems.get(level, ())),
    )


def absent_finding(images: CompiledVolume, level: Level) -> VertebraFinding:
    """Return the finding of a vertebra that was not scanned, or not found in the scan, which has no probability."""
    if images.spine is not None and level in images.spine.not_found:
        reason = "not found, although it lies within the scan"
        return VertebraFinding(level=level, probability=None, coverage="absent", not_found=True, reasons=(reason,))
    vertebra = images.spine.cervical[level] if images.spine else None
    extent = "outside" if vertebra is None else "almost completely outside"
    return VertebraFinding(
        level=level,
        probability=None,
        coverage="absent",
        scanned_fraction=0.0 if vertebra is None else min(max(vertebra.scanned_fraction, 0.0), 1.0),
        reasons=(f"{extent} {_extent_name(images)}",),
    )


def likely_fracture_types(
    metadata: LevelsMetadata, level: Level, probabilities: Floats
) -> tuple[FractureTypeFinding, ...]:
    """Return the most likely fracture types of those that occurred at a level in training.

    Parameters
    ----------
    metadata : LevelsMetadata
        Metadata of the network, with the names of its fracture types.
    level : str
        Name of the vertebra, C1 to C7.
    probabilities : (types,)
        Probability of each type.
    """
    names = metadata.fracture_types
    possible = set(metadata.fracture_types_by_level.get(level, names)) - {UNSPECIFIED_TYPE, OLD_FRACTURE_TYPE}
    ranked = [index for index in np.argsort(-probabilities).tolist() if names[index] in possible]
    return tuple(
        FractureTypeFinding(name=names[index], probability=float(probabilities[index]))
        for index in ranked[:_N_FRACTURE_TYPES]
    )


def _old_fracture_probability(metadata: LevelsMetadata, probabilities: Floats) -> float | None:
    """Return the probability of an old fracture or non-union; None of weights that do not predict it."""
    if OLD_FRACTURE_TYPE not in metadata.fracture_types:
        return None
    return float(probabilities[metadata.fracture_types.index(OLD_FRACTURE_TYPE)])


def _find_reached(
    thresholds: dict[OperatingPointName, float], probability: float, *, is_not_ruled_out: bool
) -> tuple[OperatingPointName, ...]:
    """Return the operating points that a probability reaches, the weakest first.

    What is suspicious, or not ruled out for another reason than its own probability, reaches ``rule-out``, whether or
    not there is a threshold of this name.
    """
    reached = {name for name, threshold in thresholds.items() if probability >= threshold}
    if reached or is_not_ruled_out:
        reached.add("rule-out")
    return tuple(name for name in reversed(OPERATING_POINTS) if name in reached)


def _reaches_any(thresholds: dict[OperatingPointName, float], probability: float) -> bool:
    return any(probability >= threshold for threshold in thresholds.values())


def _vertebra_of(images: CompiledVolume, level: Level) -> Vertebra:
    if images.spine is None:  # pragma: no cover - the compiler of level networks localizes
        raise AssertionError("a study was compiled without a localizer")
    return images.spine[level]


def _patient_reasons(vertebrae: list[VertebraFinding], n_lost_files: int) -> tuple[str, ...]:
    """Return why the probability of the patient may not be reliable: vertebrae that it does not cover."""
    reasons = []
    scan = "part of the scan that could be read" if n_lost_files else "scan"
    for text, levels in (
        ("in the scan but not found", [each.level for each in vertebrae if each.not_found]),
        (f"not in the {scan}", [v.level for v in vertebrae if v.coverage == "absent" and not v.not_found]),
        (f"only partly in the {scan}", [each.level for each in vertebrae if each.coverage == "partial"]),
        ("uncertain level", [each.level_label for each in vertebrae if each.is_level_uncertain]),
        ("limited image quality", [each.level for each in vertebrae if _is_limited(each)]),
    ):
        if levels:
            reasons.append(f"{text}: {', '.join(levels)}")
    if any(each.not_found for each in vertebrae):
        reasons.append("no fracture is ruled out while a level in the scan was not found")
    if n_lost_files:
        reasons.append(f"{n_lost_files} file{'s' * (n_lost_files > 1)} of the study could not be read")
    return tuple(reasons)


def _extent_name(images: CompiledVolume) -> str:
    """Return what a vertebra lies outside of: where files were lost, the scan may have shown it."""
    return "the part of the scan that could be read" if images.n_lost_files else "the field of view"


def _vertebra_reasons(vertebra: Vertebra, images: CompiledVolume) -> tuple[str, ...]:
    reasons = []
    if vertebra.coverage == "partial":
        percent = f"{100 * vertebra.scanned_fraction:.0f} %"
        reasons.append(f"partly outside {_extent_name(images)}: {percent} was scanned")
    others = [f"{level} ({100 * probability:.0f} %)" for level, probability in vertebra.alternatives]
    if others:
        names = " or ".join([f"{vertebra.level} ({100 * vertebra.confidence:.0f} %)", *others])
        reasons.append(f"{_LEVEL_IS_UNCERTAIN}: {names}")
    elif vertebra.confidence < MIN_CERTAIN_CONFIDENCE:
        reasons.append(f"{_LEVEL_IS_UNCERTAIN} ({100 * vertebra.confidence:.0f} %)")
    return tuple(reasons)


def _is_limited(vertebra: VertebraFinding) -> bool:
    """Return whether anything but the level and the coverage of a complete vertebra limits its probability."""
    reasons = [reason for reason in vertebra.reasons if not reason.startswith(_LEVEL_IS_UNCERTAIN)]
    return vertebra.coverage == "complete" and bool(reasons)
