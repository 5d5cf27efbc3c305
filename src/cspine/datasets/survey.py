"""Series geometry of many studies, from their headers alone."""

from typing import Any

import pandas as pd

from cspine.core.errors import InputError
from cspine.core.progress import Progress, silent
from cspine.datasets.summary import GEOMETRY
from cspine.dicom.loading import open_series
from cspine.dicom.series import Series
from cspine.dicom.study_collection import StudyCollection


def survey_geometry(collection: StudyCollection, *, progress: Progress = silent) -> pd.DataFrame:
    """Return the geometry of the series that would be selected in each study.

    Parameters
    ----------
    collection : StudyCollection
        As returned by `cspine.dicom.study_collection.open_collection`.
    progress : Progress
        Called with the number of finished studies.

    Returns
    -------
    DataFrame
        One row per study, columns study_instance_uid, `GEOMETRY` and reason; lengths in mm. A study that cannot be
        opened has a reason and no geometry.
    """
    rows: list[dict[str, Any]] = []
    for done, source in enumerate(collection.studies):
        progress("geometry", done, len(collection.studies))
        row: dict[str, Any] = dict.fromkeys(GEOMETRY) | {"study_instance_uid": source.study_instance_uid}
        try:
            rows.append(row | _geometry(open_series(source).series) | {"reason": None})
        except InputError as error:
            rows.append(row | {"reason": str(error)})
    progress("geometry", len(collection.studies), len(collection.studies))
    return pd.DataFrame(rows)


def _geometry(series: Series) -> dict[str, Any]:
    stack, first = series.stack, series.headers[0]
    values = (
        len(stack.order),
        stack.spacing_mm,
        first.slice_thickness_mm,
        stack.pixel_spacing_mm[0],
        first.rows,
        float(stack.along_mm[-1] + stack.spacing_mm),
    )
    return dict(zip(GEOMETRY, values, strict=True))
