"""A study in, its vertebrae out."""

from dataclasses import dataclass

import highdicom
import numpy as np
import numpy.typing as npt

from cspine import __version__
from cspine.anatomy import VERTEBRAE
from cspine.detect.localize import Localizer
from cspine.detect.reading import about_weights
from cspine.detect.refusals import refusal_of
from cspine.errors import InputError, NotAssessableError
from cspine.findings import LocatedVertebra, Place, Refusal, Row, SoftwareIdentity, Spine
from cspine.imaging.choice import choose_series
from cspine.imaging.geometry import MAX_GAP_MM
from cspine.imaging.layout import StudySource
from cspine.progress import Progress, silent
from cspine.reformat.coarse import load_thinned
from cspine.reformat.spine_map import SpineMap, Vertebra


@dataclass(frozen=True)
class Location:
    """A study's vertebrae, with what they were found in.

    Attributes
    ----------
    volume : Volume or None
        Every few slices of the series; None where it could not be read.
    found : SpineMap
        The vertebrae as `spine` tells them; none where the study is refused.
    """

    spine: Spine
    volume: highdicom.Volume | None
    found: SpineMap


def locate_study(
    source: StudySource,
    localizer: Localizer,
    *,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> Location:
    """Find the vertebrae of one study; only the slices that this takes are decoded.

    Parameters
    ----------
    source : StudySource
        Of `cspine.imaging.layout.open_root`.
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
    uid, choice, volume, found = source.study_instance_uid, None, None, SpineMap(())
    refused: Refusal | None = None
    warnings: tuple[str, ...] = ()
    try:
        study = source.open(progress=progress)
        uid = study.study_instance_uid
        choice = choose_series(study, series_uid=series_uid)
        volume = load_thinned(choice.chosen, max_gap_mm=max_gap_mm, progress=progress)
        warnings = volume.provenance.repairs if volume.provenance else ()
        found = localizer(volume)
        found.require_cervical()
    except (NotAssessableError, InputError) as error:
        refused, found = refusal_of(error), SpineMap(())
    spine = Spine(
        study_instance_uid=uid,
        series_instance_uid=choice.chosen.series_instance_uid if choice else None,
        series_reasons=choice.reasons if choice else (),
        vertebrae=tuple(_told(vertebra) for vertebra in found.shown),
        coverage={} if refused else {level: found.coverage(level) for level in VERTEBRAE},
        canal_lps_mm=tuple(_place(point) for point in found.canal()),
        warnings=(*about_weights(localizer.weights.identity), *warnings),
        refused=refused,
        software=SoftwareIdentity(version=__version__),
        weights=localizer.weights.identity,
    )
    return Location(spine, volume, found)


def _told(vertebra: Vertebra) -> LocatedVertebra:
    a, b, c, d = (_row(row) for row in vertebra.frame_lps)
    return LocatedVertebra(
        level=vertebra.level,
        coverage=vertebra.coverage,
        share=min(max(vertebra.share, 0.0), 1.0),
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
