"""Localize: one study in, its vertebrae out."""

import cspine
from cspine.classification.prediction import synthetic_data_warning
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError, NotAssessableError
from cspine.core.findings import (
    AffineRow,
    LocatedVertebra,
    NotAssessable,
    PointMm,
    SoftwareIdentity,
    Spine,
    alternatives_of,
)
from cspine.core.not_assessable import not_assessable_from
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.dicom.loading import LoadPolicy, open_series, read_first
from cspine.dicom.study_collection import StudySource
from cspine.localization.coarse import load_thinned
from cspine.localization.compiler import VolumeLocalizer
from cspine.localization.localizer import fallback_warning
from cspine.localization.result import LocalizationResult
from cspine.localization.series_choice import choose_series
from cspine.spine.spine_map import SpineMap, Vertebra


def localize_study(
    source: StudySource,
    localizer: VolumeLocalizer,
    policy: LoadPolicy = LoadPolicy(),  # noqa: B008 - immutable
    *,
    progress: Progress = silent,
) -> LocalizationResult:
    """Localize the vertebrae of one study; only as many slices are decoded as the coarse volume needs.

    Parameters
    ----------
    source : StudySource
        A study of `cspine.dicom.study_collection.open_collection`.
    localizer : VolumeLocalizer
        The network that localizes, or the vertebrae of a segmentation.
    policy : LoadPolicy
        Which series is read, and within which limits.
    progress : Progress
        Called with the number of slices decoded.

    Returns
    -------
    LocalizationResult
        Of a study that cannot be read, or shows no cervical vertebra, the spine says why and holds no vertebrae.
    """
    uid, plan, volume, spine_map = source.study_instance_uid, None, None, SpineMap(())
    not_assessable: NotAssessable | None = None
    warnings: tuple[str, ...] = ()
    try:
        study = source.open(progress=progress)
        uid, warnings = study.study_instance_uid, study.warnings
        plan = open_series(study, policy)
        warnings = plan.warnings
        plan = choose_series(plan, localizer)
        warnings = plan.warnings
        plan, volume = read_first(plan, lambda plan: load_thinned(plan, progress=progress))
        warnings = (*plan.warnings, *(volume.provenance.repairs if volume.provenance else ()))
        spine_map = localizer(volume)
        spine_map.require_cervical()
    except (NotAssessableError, InputError) as error:
        not_assessable, spine_map = not_assessable_from(error), SpineMap(())
    identity, fallback = localizer.identity, fallback_warning(localizer)
    spine = Spine(
        study_instance_uid=uid,
        series_instance_uid=plan.series.series_instance_uid if plan else None,
        series_reasons=plan.selection.reasons if plan else (),
        vertebrae=tuple(_to_located_vertebra(vertebra) for vertebra in spine_map.scanned_vertebrae),
        coverage={} if not_assessable else {level: spine_map.coverage(level) for level in VERTEBRAE},
        not_found=() if not_assessable else spine_map.not_found,
        canal_lps_mm=tuple(_point(point) for point in spine_map.canal()),
        warnings=(*synthetic_data_warning(identity), *spine_map.doubts, *spine_map.warnings, *warnings, *fallback),
        not_assessable=not_assessable,
        software=SoftwareIdentity(version=cspine.__version__),
        weights=identity,
    )
    return LocalizationResult(spine, volume, spine_map)


def _to_located_vertebra(vertebra: Vertebra) -> LocatedVertebra:
    """Return a vertebra as ``spine.json`` holds it."""
    a, b, c, d = (_row(row) for row in vertebra.frame_lps)
    return LocatedVertebra(
        level=vertebra.level,
        coverage=vertebra.coverage,
        scanned_fraction=min(max(vertebra.scanned_fraction, 0.0), 1.0),
        confidence=min(max(vertebra.confidence, 0.0), 1.0),
        alternatives=alternatives_of(vertebra.alternatives),
        centroid_lps_mm=_point(vertebra.centroid_lps_mm),
        frame_lps=(a, b, c, d),
        box_mm=(_point(vertebra.box_mm[0]), _point(vertebra.box_mm[1])),
        canal_lps_mm=_point(vertebra.canal_lps_mm),
    )


def _point(values: Floats) -> PointMm:
    x, y, z = values.tolist()
    return x, y, z


def _row(values: Floats) -> AffineRow:
    x, y, z, one = values.tolist()
    return x, y, z, one
