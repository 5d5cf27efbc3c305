"""A study in, its vertebrae out."""

import numpy as np
import numpy.typing as npt

from cspine import __version__
from cspine.classification.prediction import phantom_only_warning
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError, NotAssessableError
from cspine.core.findings import LocatedVertebra, NotAssessable, Place, Row, SoftwareIdentity, Spine
from cspine.core.not_assessable import not_assessable_from
from cspine.core.progress import Progress, silent
from cspine.dicom.geometry import MAX_GAP_MM
from cspine.dicom.open_series import LoadPolicy, open_series
from cspine.dicom.study_collection import StudySource
from cspine.localization.coarse import load_thinned
from cspine.localization.localizer import Localizer
from cspine.localization.result import LocalizationResult
from cspine.spine.spine_map import SpineMap, Vertebra


def localize_study(
    source: StudySource,
    localizer: Localizer,
    *,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> LocalizationResult:
    """Find the vertebrae of one study; only the slices that this takes are decoded.

    Parameters
    ----------
    source : StudySource
        Of `cspine.dicom.study_collection.open_collection`.
    localizer : Localizer
        Finds them.
    series_uid : str, optional
        Read this series instead of the best.
    max_gap_mm : float
        The widest gap between slices that is bridged where gaps are uneven.
    progress : Progress
        Told about decoding.

    Returns
    -------
    Location
        A study that cannot be read, or shows no cervical vertebra, has a refusal.
    """
    uid, plan, volume, found = source.study_instance_uid, None, None, SpineMap(())
    not_assessable: NotAssessable | None = None
    warnings: tuple[str, ...] = ()
    try:
        study = source.open(progress=progress)
        uid = study.study_instance_uid
        plan = open_series(study, LoadPolicy(series_uid, max_gap_mm))
        volume = load_thinned(plan, progress=progress)
        warnings = volume.provenance.repairs if volume.provenance else ()
        found = localizer(volume)
        found.require_cervical()
    except (NotAssessableError, InputError) as error:
        not_assessable, found = not_assessable_from(error), SpineMap(())
    spine = Spine(
        study_instance_uid=uid,
        series_instance_uid=plan.series.series_instance_uid if plan else None,
        series_reasons=plan.selection.reasons if plan else (),
        vertebrae=tuple(_told(vertebra) for vertebra in found.shown),
        coverage={} if not_assessable else {level: found.coverage(level) for level in VERTEBRAE},
        canal_lps_mm=tuple(_place(point) for point in found.canal()),
        warnings=(*phantom_only_warning(localizer.weights.identity), *warnings),
        not_assessable=not_assessable,
        software=SoftwareIdentity(version=__version__),
        weights=localizer.weights.identity,
    )
    return LocalizationResult(spine, volume, found)


def _told(vertebra: Vertebra) -> LocatedVertebra:
    a, b, c, d = (_row(row) for row in vertebra.frame_lps)
    return LocatedVertebra(
        level=vertebra.level,
        coverage=vertebra.coverage,
        scanned_fraction=min(max(vertebra.scanned_fraction, 0.0), 1.0),
        confidence=min(max(vertebra.confidence, 0.0), 1.0),
        centroid_lps_mm=_place(vertebra.centroid_lps_mm),
        frame_lps=(a, b, c, d),
        box_mm=(_place(vertebra.box_mm[0]), _place(vertebra.box_mm[1])),
        canal_lps_mm=_place(vertebra.canal_lps_mm),
    )


def _place(values: npt.NDArray[np.float64]) -> Place:
    x, y, z = values.tolist()
    return x, y, z


def _row(values: npt.NDArray[np.float64]) -> Row:
    x, y, z, one = values.tolist()
    return x, y, z, one
