"""The geometry of many studies, from their headers alone."""

from typing import Any

import pandas as pd

from cspine.core.errors import InputError
from cspine.core.progress import Progress, silent
from cspine.dicom.open_series import open_series
from cspine.dicom.study_collection import StudyCollection


def survey_geometry(root: StudyCollection, *, progress: Progress = silent) -> pd.DataFrame:
    """Measure each study's series that would be read.

    Parameters
    ----------
    root : StudyCollection
        Of `cspine.dicom.study_collection.open_collection`.
    progress : Progress
        Told how many studies are measured.

    Returns
    -------
    DataFrame
        One row per study; lengths in mm. A study that cannot be read has a ``reason`` and no measures.
    """
    rows: list[dict[str, Any]] = []
    for done, source in enumerate(root.studies):
        progress("geometry", done, len(root.studies))
        row: dict[str, Any] = dict.fromkeys(_MEASURES) | {"study_instance_uid": source.study_instance_uid}
        try:
            series = open_series(source).series
        except InputError as error:
            rows.append(row | {"reason": str(error)})
            continue
        stack, first = series.stack, series.headers[0]
        measures = (
            len(stack.order),
            stack.spacing_mm,
            first.slice_thickness_mm,
            stack.pixel_spacing_mm[0],
            first.rows,
            float(stack.along_mm[-1] + stack.spacing_mm),
        )
        rows.append(row | dict(zip(_MEASURES, measures, strict=True)) | {"reason": None})
    progress("geometry", len(root.studies), len(root.studies))
    return pd.DataFrame(rows)


_MEASURES = ("slices", "slice_spacing_mm", "slice_thickness_mm", "pixel_spacing_mm", "rows", "length_mm")
