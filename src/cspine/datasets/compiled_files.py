"""The files of one compiled study, and its rows of the data set's tables."""

from typing import Any

from cspine.views.compiled import CompiledVolume
from cspine.views.fracture_labels import encode_cells
from cspine.views.level_views import LevelViews
from cspine.views.sagittal import SagittalSet
from cspine.views.settings import CompileSettings

Files = dict[str, bytes]
"""File name to content."""

Row = dict[str, Any]
"""Column name to value."""


def image_files(images: CompiledVolume, key: str, settings: CompileSettings) -> tuple[Files, dict[str, list[Row]]]:
    """Return the files of a study, and the rows of the data set's tables that describe them.

    Parameters
    ----------
    images : CompiledVolume
        Compiled images of the study.
    key : str
        Key of the study, as returned by `cspine.core.identifiers.study_key`; its folder under ``images/``.
    settings : CompileSettings
        Settings of the compilation.

    Returns
    -------
    dict of str to bytes
        File name to content.
    dict of str to list of dict
        Rows of the tables ``images`` and ``levels``.
    """
    files, image_rows = _sagittal_files(images.sagittal, key, settings.sagittal.jpeg_quality)
    level_rows = []
    for views in images.levels:
        level_files, row = _level_files(images, views, key)
        files |= level_files
        level_rows.append(row)
    return files, {"images": image_rows, "levels": level_rows}


def _sagittal_files(sagittal: SagittalSet, key: str, jpeg_quality: int) -> tuple[Files, list[Row]]:
    files = {f"{number:02d}.jpg": data for number, data in enumerate(sagittal.jpegs(jpeg_quality))}
    rows = [
        {
            "image": number,
            "path": f"images/{key}/{name}",
            "x_lps_mm": float(sagittal.x_lps_mm[number]),
            "offset_mm": float(sagittal.offsets_mm[number]),
            "top_z_mm": sagittal.top_z_mm,
            "front_y_mm": sagittal.front_y_mm,
            "pixel_mm": sagittal.pixel_mm,
            "bytes": len(data),
        }
        for number, (name, data) in enumerate(files.items())
    ]
    return files, rows


def _level_files(images: CompiledVolume, views: LevelViews, key: str) -> tuple[Files, Row]:
    """Return the mosaic of a vertebra and, where it is fractured, its fractured cells; and the row of the table."""
    if images.spine is None:  # pragma: no cover - views are of localized vertebrae
        raise AssertionError("views of vertebrae that were not localized")
    vertebra, level = images.spine[views.level], views.level
    name, mosaic = f"{level}{views.settings.suffix}", views.mosaic()
    files = {name: mosaic}
    cells = (images.fracture_cells or {}).get(level)
    if cells is not None and cells.any():
        files[f"{level}.png"] = encode_cells(cells)
    row = {
        "level": level,
        "path": f"images/{key}/{name}",
        "cells_path": f"images/{key}/{level}.png" if f"{level}.png" in files else None,
        "scanned_fraction": vertebra.scanned_fraction,
        "confidence": vertebra.confidence,
        "image_quality_problems": "; ".join(images.image_quality_problems.get(level, ())),
        "centroid_lps_mm": vertebra.centroid_lps_mm.tolist(),
        "box_lps": views.box_lps.ravel().tolist(),
        "bridged_gaps": views.gaps.to_list() if views.gaps else [],
        "bytes": len(mosaic),
    }
    return files, row
