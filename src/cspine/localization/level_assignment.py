"""Level assignment: a hidden Markov model over the vertebrae of a scan, from the head down.

Levels are assigned to all vertebrae together. The states are C1 to S1, so that a column is numbered from wherever it is
anchored: the shape of C1, C2 and T1, the skull. The network's class probabilities are the emissions; the
transitions require that levels follow each other and rate how well the distance and the direction from one vertebra to
the next agree with those of neighbors. Detections that do not fit into the column are left out. The posterior
probability says how certain each level is, and which others are possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats, Indices
from cspine.localization.level_evidence import N_CERVICAL, Detections
from cspine.localization.level_lattice import Lattice
from cspine.spine.level_settings import LEVELS, REGIONS, LevelAssignmentSettings, expected_distance_mm
from cspine.spine.spine_map import LEVEL_UNCERTAIN, Alternatives, Vertebra

MIN_ALTERNATIVE: Final = 0.1
"""Posterior probability from which on another level is named."""

_MIN_REGION: Final = 0.5
"""A column holds cervical vertebrae where one of them is cervical with at least this posterior probability."""

_ANCHORS: Final = [LEVELS.index(name) for name in ("C1", "C2", "T1")]
"""Levels whose shape or ribs tell them from their neighbors."""


@dataclass(frozen=True)
class LevelSequence:
    """The column of vertebrae of a scan, from the head down.

    Attributes
    ----------
    members : (m,) int
        Indices of the detections in the column.
    names : tuple of str
        Their levels; ``T``, ``L`` or ``S`` where the number is unknown.
    confidence : (m,)
        Posterior probability of each name.
    alternatives : tuple
        For each vertebra, other names of at least `MIN_ALTERNATIVE` with their probabilities, the best first; of an
        uncertain cervical sequence at least the best one of each uncertain vertebra.
    doubts : tuple of str
        A sentence where cervical levels are uncertain.
    """

    members: Indices
    names: tuple[str, ...]
    confidence: Floats
    alternatives: tuple[Alternatives, ...]
    doubts: tuple[str, ...] = ()


def assign_levels(
    detections: Detections,
    settings: LevelAssignmentSettings = LevelAssignmentSettings(),  # noqa: B008 - immutable
) -> LevelSequence:
    """Return the most likely column of vertebrae, with their levels, the alternatives and what is uncertain.

    Parameters
    ----------
    detections : Detections
        At least one, from the head down.
    settings : LevelAssignmentSettings
        The numbers of the model.
    """
    emissions = detections.log_emissions(settings)
    unary = emissions + detections.log_odds[:, None]
    members, levels = Lattice(detections, settings, unary).decode()
    posterior = level_posterior(detections, settings, members)
    has_cervical = bool((posterior[:, :N_CERVICAL].sum(axis=1) >= _MIN_REGION).any())
    if not has_cervical and (levels < N_CERVICAL).any():
        unary[:, :N_CERVICAL] = -np.inf
        members, levels = Lattice(detections, settings, unary).decode()
        posterior = level_posterior(detections, settings, members)
    likelihood = posterior[np.arange(len(levels)), levels]
    if not has_cervical and not (likelihood >= settings.min_certain).all():
        return _name_regions(members, posterior)
    names = _number(levels)
    has_skull = detections.anchors.skull_base_lps_mm is not None
    is_anchored = has_skull or _has_recognized_anchor(levels, recognized=emissions[members].argmax(axis=1))
    min_certain = settings.min_certain if is_anchored else settings.min_certain_without_anchor
    is_uncertain = ((likelihood < min_certain) & has_cervical).tolist()
    by_name = (dict(zip(LEVELS, row.tolist(), strict=True)) for row in posterior)
    alternatives = tuple(
        _alternatives(each, name, min_count=int(uncertain))
        for each, name, uncertain in zip(by_name, names, is_uncertain, strict=True)
    )
    doubts = _doubts(names, alternatives, is_uncertain)
    return LevelSequence(members, names, likelihood, alternatives, doubts)


def level_posterior(detections: Detections, settings: LevelAssignmentSettings, members: Indices) -> Floats:
    """Return the probability of each level for each member of a column, (m, states).

    Parameters
    ----------
    detections : Detections
        All detections of the scan.
    settings : LevelAssignmentSettings
        The numbers of the model. Where `LevelAssignmentSettings.sums_over_columns` is set, the probability is averaged
        over the columns that hold the detection, and otherwise is that in the column of the members alone.
    members : (m,) int
        Indices of the detections in the column.
    """
    if settings.sums_over_columns:
        unary = detections.log_emissions(settings) + detections.log_odds[:, None]
        return np.asarray(Lattice(detections, settings, unary).posterior()[members])
    column = detections.subset(members)
    return Lattice(column, settings, column.log_emissions(settings), is_chain=True).posterior()


def relative_size(vertebrae: Sequence[Vertebra]) -> float | None:
    """Return the median distance between neighbors relative to an adult's; None of fewer than two vertebrae.

    Parameters
    ----------
    vertebrae : sequence of Vertebra
        From the head down; those without a number are left out.
    """
    numbered = [vertebra for vertebra in vertebrae if vertebra.level in LEVELS]
    ratios = [
        float(np.linalg.norm(above.frame_lps[:3, 3] - below.frame_lps[:3, 3]))
        / expected_distance_mm(above.level, below.level)
        for above, below in pairwise(numbered)
        if above.level != below.level
    ]
    return float(np.median(ratios)) if ratios else None


def _has_recognized_anchor(levels: Indices, recognized: Indices) -> bool:
    """Return whether a vertebra of `_ANCHORS` is recognized as such by itself.

    That only its neighbors make it one is no evidence: levels would be counted from their own count.
    """
    return bool((np.isin(levels, _ANCHORS) & (recognized == levels)).any())


def _number(levels: Indices) -> tuple[str, ...]:
    """Return the names of levels C1 to S1; what follows S1 is counted on."""
    names: list[str] = []
    for level in levels.tolist():
        name = LEVELS[level]
        names.append(f"S{int(names[-1][1:]) + 1}" if names and names[-1].startswith("S") else name)
    return tuple(names)


def _name_regions(members: Indices, posterior: Floats) -> LevelSequence:
    """Return a column without cervical vertebrae whose numbers are unknown: regions are its levels."""
    n_lumbar = LEVELS.index("L1")
    parts = posterior[:, N_CERVICAL:n_lumbar], posterior[:, n_lumbar:]
    by_region = np.stack([part.sum(axis=1) for part in parts], axis=1)
    names = tuple(REGIONS[index] for index in by_region.argmax(axis=1).tolist())
    confidence = by_region.max(axis=1)
    alternatives = tuple(
        _alternatives(
            dict(zip(REGIONS, regional.tolist(), strict=True)) | dict(zip(VERTEBRAE, row.tolist(), strict=False)), name
        )
        for name, regional, row in zip(names, by_region, posterior, strict=True)
    )
    return LevelSequence(members, names, confidence, alternatives)


def _alternatives(by_name: dict[str, float], name: str, min_count: int = 0) -> Alternatives:
    """Return the other names that are probable enough, and at least some number of them; the best first."""
    others = sorted(((other, value) for other, value in by_name.items() if other != name), key=lambda each: -each[1])
    n_probable = sum(value >= MIN_ALTERNATIVE for _, value in others)
    return tuple(others[: max(n_probable, min_count)])


def _doubts(names: Sequence[str], alternatives: Sequence[Alternatives], is_uncertain: list[bool]) -> tuple[str, ...]:
    """Return a sentence that names the alternatives of each uncertain vertebra, or nothing."""
    parts = [
        " or ".join((name, *(other for other, _ in others)))
        for name, others, uncertain in zip(names, alternatives, is_uncertain, strict=True)
        if uncertain
    ]
    return (f"{LEVEL_UNCERTAIN}: the vertebrae fit more than one sequence of levels: {', '.join(parts)}",) * bool(parts)
