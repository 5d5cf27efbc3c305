"""Plausibility of a localized spine: an independent check of what the network claims.

The localizer names a level for whatever resembles a vertebra, with probabilities that say how the levels differ from
each other, and not whether there is a cervical spine at all. This module compares the map with the scan itself:

shape
    The bone in a vertebra's frame must look like the mean vertebra of its level. The *agreement* is the Pearson
    correlation between the attenuation and the occupancy template of the level (`OccupancyTemplate.agreement`), and is
    averaged over C1 to T2. It depends on the size, the canal and the arch, and is low in tubes and columns of bone, in
    vertebrae of another region, and in vertebrae of a false scale.
orientation
    Where the shape is doubtful, or fits upside down almost as well, the scan is localized again with head and feet or
    front and back exchanged. If the spine is found there with much more agreement, the header states another
    orientation than the anatomy shows.
size
    The distances between neighbors, relative to an adult's.
discs
    Somewhere between the bodies the bone is interrupted, also in a spine with several fused levels.
surroundings
    A skull lies above C1 where the scan reaches so far.

Thresholds were chosen on the project's phantoms and on public real CT, each also rotated, mirrored and scaled, with the
localizer of 0.2 (docs/concepts/localization.md has the table): true necks had an agreement of 0.33 to 0.60, necks of a
false orientation 0.25 to 0.48, thoracic and lumbar vertebrae 0.12 to 0.40, vertebrae scaled by 0.6 and by 1.7 at most
0.34 and 0.26.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.findings import NotAssessable
from cspine.core.processors import default_workers
from cspine.core.typing import Floats
from cspine.localization.cascade.assembly import LOWEST_TEMPLATE, LocalizedScan
from cspine.localization.cascade.crops import CROP_MM
from cspine.localization.coarse import CoarseVolume
from cspine.localization.level_assignment import relative_size
from cspine.localization.recognition import are_recognized, is_below_skull
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.spine.spine_map import LEVEL_UNCERTAIN, SpineMap, Vertebra

MIN_AGREEMENT: Final = 0.28
"""Mean agreement below which the bones are not those of a cervical spine."""

MIN_RECOGNIZED_AGREEMENT, MIN_AGREEMENT_BELOW_SKULL = 0.18, 0.1
"""The same where the frame network recognizes all vertebrae (`cspine.localization.recognition`): in osteoporosis of low
bone contrast the agreement of true necks falls to 0.25, and of C1 and C2 alone, below the skull, to 0.13."""

MIN_CERTAIN_AGREEMENT: Final = 0.38
"""Mean agreement below which the levels are doubtful."""

_MIN_ORIENTED_AGREEMENT: Final = 0.42
"""Mean agreement from which on front and back are certain; with both exchanged it is 0.40 at most."""

_MIN_HEAD_MARGIN: Final = 0.012
"""The agreement exceeds that of the upside-down template by at least this much in a spine of the right orientation; in
one of a false orientation, by 0.009 at most. C1 alone is almost symmetric."""

_MIN_CERTAIN_VERTEBRAE: Final = 3
"""Fewer vertebrae do not form a sequence by which levels can be told."""

_MAX_DOUBTFUL: Final = 0.79
"""Largest confidence of a level in a doubtful map."""

MIN_SIZE, MAX_SIZE = 0.42, 1.45
_MIN_CERTAIN_SIZE, _MAX_CERTAIN_SIZE = 0.7, 1.3
"""Bounds of the distances between vertebrae, relative to an adult's: beyond the outer ones there is no patient, beyond
the inner ones are small children and errors."""

_MAX_ALTERNATIVE_RATIO: Final = 1.3
"""Summed agreement of another orientation, relative to the stated one, from which on the stated one is refuted."""

_MAX_CERTAIN_ALTERNATIVE_RATIO: Final = 1.0
"""The same ratio from which on the stated orientation is doubtful."""

_SKULL_ABOVE_MM: Final = (25.0, 45.0)
"""The skull is searched this far above the origin of C1, in mm."""

_MIN_SKULL_MM2: Final = 800.0
"""Least area of bone per slice there; real heads have 2,500 to 6,000."""

_SKULL_HU: Final = 250
_MIN_UPRIGHT_COSINE: Final = 0.5
"""Least cosine between a vertebra's axes and the patient's; kyphosis and head tilt stay well above."""

_MIN_DISC_CONTRAST: Final = 0.06
"""Least relative decrease of attenuation from the bodies to the disc between them, in the most distinct disc; real
spines have 0.15 to 0.58, rods and tubes 0.05 at most."""

_MIN_DISCS: Final = 2
"""Number of neighbors below C1 from which on the discs are compared."""

_MIN_FUSED_AGREEMENT: Final = 0.42
"""Agreement from which on a spine without discs is taken for a fused one, such as in ankylosing spondylitis."""

_BODY_MM: Final = np.array([[x, y, 0.0] for x in (-6, -3, 0, 3, 6) for y in (-4, -2, 0, 2, 4)])
"""Points of a cross-section of the vertebral body, (n, 3) mm."""

_BODY_WINDOW_HU: Final = (0.0, 800.0)

_MARGIN_MM: Final = 80.0
"""Other orientations are tried within this distance of the spine from side to side and front to back."""

_SHIFTS_MM: Final = np.array([[0.0, y, z] for y in (-6, -3, 0, 3, 6) for z in (-6, -3, 0, 3, 6)])
"""Shifts over which a template is aligned before it is compared with its mirror image, (n, 3)."""

_UPSIDE_DOWN: Final[dict[str, Floats]] = {"head and feet are exchanged": np.diag([1.0, 1.0, -1.0])}
_ORIENTATIONS: Final[dict[str, Floats]] = _UPSIDE_DOWN | {
    "front and back are exchanged": np.diag([1.0, -1.0, 1.0]),
    "head and feet, and front and back, are exchanged": np.diag([1.0, -1.0, -1.0]),
    "the patient is turned by 90 degrees to one side": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "the patient is turned by 90 degrees to the other side": np.array(
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    ),
}
"""Other orientations, as matrices in LPS. Left and right are not distinguished, because a neck is symmetric."""

_ORIENTATION_REMEDY: Final = "correct ImageOrientationPatient or PatientPosition, or the affine of the NIfTI file"


@dataclass(frozen=True)
class _Shape:
    """How well the vertebrae of a map agree with the templates.

    Attributes
    ----------
    agreements : (n,)
        Agreement of each vertebra from C1 to T2 with a template that is mostly inside the scan.
    total : float
        Sum of the agreements of all vertebrae; those below T2 are compared with the template of T2.
    head_margin : float
        Mean difference to the agreement with upside-down templates; nan where none could be compared.
    """

    agreements: Floats
    total: float
    head_margin: float

    @property
    def mean(self) -> float:
        """Mean agreement; nan where no vertebra could be compared."""
        return float(self.agreements.mean()) if len(self.agreements) else float("nan")


def check_plausibility(
    localized: LocalizedScan,
    scan: Scan,
    templates: Mapping[str, OccupancyTemplate],
    localize: Callable[[Scan], LocalizedScan] | None,
) -> SpineMap:
    """Return a map with what makes it doubtful, or why it cannot be true.

    Parameters
    ----------
    localized : LocalizedScan
        The localized vertebrae.
    scan : Scan
        The scan in which they were localized.
    templates : dict
        Level to the occupancy template of such vertebrae.
    localize : callable
        Localizes the vertebrae of a scan, without this check. It is called for other orientations where the map is
        doubtful, and not otherwise. None leaves them out, which saves most of the time.

    Returns
    -------
    SpineMap
        The same map where it is plausible. Of a doubtful map, `SpineMap.doubts` says why, and the confidence of every
        level is lowered to below 0.8; of an impossible one, `SpineMap.implausible` is set.
    """
    if localized.scale == 1.0:
        return _check(localized, scan, templates, localize)
    return _check(localized, scan.scaled(localized.scale), templates, localize).scaled(1.0 / localized.scale)


def mean_agreement(localized: LocalizedScan, templates: Mapping[str, OccupancyTemplate]) -> float:
    """Return the mean agreement of the vertebrae from C1 to T2 with their templates; nan where none was compared."""
    if localized.coarse is None or not localized.spine_map.vertebrae:
        return float("nan")
    return _compare_shape(localized.spine_map, localized.coarse, templates, has_margin=False).mean


def _check(
    localized: LocalizedScan,
    scan: Scan,
    templates: Mapping[str, OccupancyTemplate],
    localize: Callable[[Scan], LocalizedScan] | None,
) -> SpineMap:
    """Return a checked map, in the size in which the vertebrae were localized; see `check_plausibility`."""
    spine_map, coarse = localized.spine_map, localized.coarse
    cervical = [vertebra for vertebra in spine_map.scanned_vertebrae if vertebra.level in VERTEBRAE]
    if not templates:
        return spine_map
    if not spine_map.vertebrae or coarse is None:
        return spine_map if localize is None else _check_nothing(spine_map, scan, templates, localize)
    shape = _compare_shape(spine_map, coarse, templates, has_margin=localize is not None)
    recognized = bool(cervical) and are_recognized(localized)
    implausible, doubts = _check_map(localized, coarse, shape, is_recognized=recognized) if cervical else (None, [])
    is_weak = bool(not cervical or doubts or implausible) or not shape.mean >= _MIN_ORIENTED_AGREEMENT
    if localize is not None and (is_weak or not shape.head_margin >= _MIN_HEAD_MARGIN):
        orientations = _ORIENTATIONS if is_weak else _UPSIDE_DOWN
        around = _crop_around(spine_map, scan).shrink(CROP_MM)
        refuted, doubted = _check_orientation(shape, around, templates, localize, orientations)
        implausible = refuted or implausible
        doubts += doubted if cervical else []
    if implausible is None and not doubts:
        return spine_map
    limit = _MAX_DOUBTFUL if recognized and implausible is None else _confidence_limit(shape.mean)
    vertebrae = tuple(replace(vertebra, confidence=min(vertebra.confidence, limit)) for vertebra in spine_map.vertebrae)
    sentences = tuple(f"{LEVEL_UNCERTAIN}: {doubt}" for doubt in doubts)
    return replace(spine_map, vertebrae=vertebrae, doubts=(*spine_map.doubts, *sentences), implausible=implausible)


def _check_nothing(
    spine_map: SpineMap,
    scan: Scan,
    templates: Mapping[str, OccupancyTemplate],
    localize: Callable[[Scan], LocalizedScan],
) -> SpineMap:
    """Return a map without vertebrae, with the reason if there is a cervical spine in another orientation."""
    nothing = _Shape(np.empty(0), 0.0, float("nan"))
    refuted, _ = _check_orientation(nothing, scan.shrink(CROP_MM), templates, localize, _ORIENTATIONS)
    return replace(spine_map, implausible=refuted)


def _check_map(
    localized: LocalizedScan, coarse: CoarseVolume, shape: _Shape, *, is_recognized: bool
) -> tuple[NotAssessable | None, list[str]]:
    """Return why a map with cervical vertebrae cannot be true, or None, and what makes it doubtful."""
    doubts, spine_map = [], localized.spine_map
    if shape.mean < _least_agreement(localized, is_recognized=is_recognized):
        reason = (
            "bones were found that do not have the shape of cervical vertebrae (agreement with the mean vertebra "
            f"{shape.mean:.2f}, at least {MIN_AGREEMENT:.2f} is needed); send a scan of the cervical spine"
        )
        return NotAssessable(code="no-cervical-spine", reason=reason), []
    size = relative_size(spine_map.scanned_vertebrae)
    size = None if size is None else size / localized.scale
    if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
        reason = (
            f"the distances between the vertebrae are {size:.1f} times an adult's, so that pixel spacing, slice "
            "positions or the body part are wrong; check the headers"
        )
        return NotAssessable(code="implausible-anatomy", reason=reason), []
    if _lacks_discs(spine_map, coarse):
        if not shape.mean >= _MIN_FUSED_AGREEMENT:
            reason = "a column of bone without disc spaces was found, and no spine; send a scan of the cervical spine"
            return NotAssessable(code="no-cervical-spine", reason=reason), []
        doubts.append("no disc space was found between the vertebrae")
    if not shape.mean >= (MIN_AGREEMENT if is_recognized else MIN_CERTAIN_AGREEMENT):
        doubts.append("the vertebrae differ in shape from cervical ones")
    if size is not None and not _MIN_CERTAIN_SIZE <= size <= _MAX_CERTAIN_SIZE:
        doubts.append(f"the distances between the vertebrae are {size:.1f} times an adult's")
    if len(spine_map.scanned_vertebrae) < _MIN_CERTAIN_VERTEBRAE and not is_below_skull(localized):
        doubts.append(f"fewer than {_MIN_CERTAIN_VERTEBRAE} vertebrae were found")
    if (above := _lost_neighbor(spine_map)) is not None:
        doubts.append(f"{above} lies within the scan, but was not found, so that no level is counted from the head")
    if not all(_is_upright(vertebra) for vertebra in spine_map.scanned_vertebrae):
        doubts.append("a vertebra does not face the way the headers say that the patient faces")
    if _lacks_skull(spine_map, coarse):
        doubts.append("no skull lies above C1")
    return None, doubts


def _least_agreement(localized: LocalizedScan, *, is_recognized: bool) -> float:
    """Return the mean agreement below which the bones are not those of a cervical spine."""
    if not is_recognized:
        return MIN_AGREEMENT
    return MIN_AGREEMENT_BELOW_SKULL if is_below_skull(localized) else MIN_RECOGNIZED_AGREEMENT


def _check_orientation(
    shape: _Shape,
    scan: Scan,
    templates: Mapping[str, OccupancyTemplate],
    localize: Callable[[Scan], LocalizedScan],
    orientations: Mapping[str, Floats],
) -> tuple[NotAssessable | None, list[str]]:
    """Return why the stated orientation is refuted, or None, and why it is doubtful, by localizing in others."""
    stated = shape.total
    best, difference = 0.0, ""
    for name, matrix in orientations.items():
        localized = localize(scan.turned(matrix))
        alternative, coarse = localized.spine_map, localized.coarse
        if coarse is None or not any(vertebra.level in VERTEBRAE for vertebra in alternative.scanned_vertebrae):
            continue
        other = _compare_shape(alternative, coarse, templates, has_margin=False)
        if len(other.agreements) < _MIN_CERTAIN_VERTEBRAE or other.mean < MIN_CERTAIN_AGREEMENT:
            continue
        if other.total > best:
            best, difference = other.total, name
    if best > _MAX_ALTERNATIVE_RATIO * stated:
        reason = f"by the anatomy, {difference} against what the headers say; {_ORIENTATION_REMEDY}"
        return NotAssessable(code="implausible-anatomy", reason=reason), []
    if best > _MAX_CERTAIN_ALTERNATIVE_RATIO * stated:
        return None, [f"the anatomy fits as well if {difference}"]
    return None, []


def _crop_around(spine_map: SpineMap, scan: Scan) -> Scan:
    """Return the part of a scan around the spine, over its whole height."""
    origins = np.array([vertebra.frame_lps[:3, 3] for vertebra in spine_map.vertebrae])
    low, high = origins.min(axis=0) - _MARGIN_MM, origins.max(axis=0) + _MARGIN_MM
    low[2], high[2] = scan.extent_lps_mm[0][2], scan.extent_lps_mm[1][2]
    return scan.crop(low, high)


def _compare_shape(
    spine_map: SpineMap, coarse: CoarseVolume, templates: Mapping[str, OccupancyTemplate], *, has_margin: bool
) -> _Shape:
    """Return how well vertebrae agree with the templates; the margin to upside-down ones takes most of the time."""
    known = [vertebra.level in templates for vertebra in spine_map.scanned_vertebrae]

    def compare(vertebra: Vertebra) -> tuple[float | None, float | None]:
        template = templates.get(vertebra.level, templates.get(LOWEST_TEMPLATE))
        if template is None:
            return None, None
        agreement = template.agreement(vertebra.frame_lps, coarse.sample)
        if not has_margin or vertebra.level not in templates:
            return agreement, None
        upright, turned = (
            template.best_agreement(frame, coarse.sample, _SHIFTS_MM)
            for frame in (vertebra.frame_lps, vertebra.frame_lps @ np.diag([1.0, 1.0, -1.0, 1.0]))
        )
        return agreement, None if upright is None or turned is None else upright - turned

    with ThreadPoolExecutor(default_workers()) as threads:
        compared = list(threads.map(compare, spine_map.scanned_vertebrae))
    agreements = [agreement for (agreement, _), is_known in zip(compared, known, strict=True) if is_known]
    margins = [margin for _, margin in compared if margin is not None]
    return _Shape(
        np.array([agreement for agreement in agreements if agreement is not None]),
        sum(agreement for agreement, _ in compared if agreement is not None),
        float(np.mean(margins)) if margins else float("nan"),
    )


def _lost_neighbor(spine_map: SpineMap) -> str | None:
    """Return the level above the uppermost one found if it lies within the scan, too; None otherwise."""
    first = spine_map.scanned_vertebrae[0].level
    if first not in VERTEBRAE or first == VERTEBRAE[0]:
        return None
    above = VERTEBRAE[VERTEBRAE.index(first) - 1]
    return above if above in spine_map.not_found else None


def _lacks_discs(spine_map: SpineMap, coarse: CoarseVolume) -> bool:
    """Return whether the bone runs on from body to body at all neighbors below C1."""
    contrasts = [
        contrast
        for above, below in pairwise(spine_map.scanned_vertebrae)
        if above.level != "C1" and np.isfinite(contrast := _disc_contrast(above, below, coarse))
    ]
    return len(contrasts) >= _MIN_DISCS and max(contrasts) < _MIN_DISC_CONTRAST


def _disc_contrast(above: Vertebra, below: Vertebra, coarse: CoarseVolume) -> float:
    """Return the relative decrease of attenuation between two bodies; nan where they are not in the scan."""
    ways = np.linspace(0.0, 1.0, 9)[:, None]
    centers = (1.0 - ways) * above.frame_lps[:3, 3] + ways * below.frame_lps[:3, 3]
    points = (centers[:, None] + _BODY_MM @ above.frame_lps[:3, :3].T).reshape(-1, 3)
    profile = np.clip(coarse.sample(points), *_BODY_WINDOW_HU).reshape(len(ways), -1).mean(axis=1)
    body = (profile[:4].max() + profile[5:].max()) / 2
    return float((body - profile[2:7].min()) / max(body, 1.0))


def _is_upright(vertebra: Vertebra) -> bool:
    """Return whether a vertebra faces the patient's front, with its upper side to the head."""
    return bool(min(vertebra.frame_lps[1, 1], vertebra.frame_lps[2, 2]) >= _MIN_UPRIGHT_COSINE)


def _lacks_skull(spine_map: SpineMap, coarse: CoarseVolume) -> bool:
    """Return whether the scan reaches high enough above C1 to show the skull, and does not."""
    atlas = spine_map.cervical["C1"]
    if atlas is None:
        return False
    low, high = (
        round((atlas.frame_lps[2, 3] + above_mm - coarse.origin_lps_mm[2]) / COARSE_MM) for above_mm in _SKULL_ABOVE_MM
    )
    if low < 0 or high > len(coarse.hu) or not coarse.scanned_mask[low:high].any(axis=(1, 2)).all():
        return False
    area_mm2 = float(np.count_nonzero(coarse.hu[low:high] > _SKULL_HU)) * COARSE_MM**2 / (high - low)
    return bool(area_mm2 < _MIN_SKULL_MM2)


def _confidence_limit(agreement: float) -> float:
    """Return the largest confidence of a level in a doubtful map, 0.5 to 0.79, which rises with the agreement."""
    if np.isnan(agreement):
        return 0.5
    certainty = (agreement - MIN_AGREEMENT) / (MIN_CERTAIN_AGREEMENT - MIN_AGREEMENT)
    return float(np.clip(0.5 + 0.29 * certainty, 0.5, _MAX_DOUBTFUL))
