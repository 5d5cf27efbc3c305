"""The files of one compiled study, and its rows of the tables."""

from typing import Any

from cspine.views.compiled import CompiledVolume
from cspine.views.fracture_labels import encode_cells
from cspine.views.settings import CompileSettings


def image_files(
    images: CompiledVolume, key: str, settings: CompileSettings
) -> tuple[dict[str, bytes], dict[str, list[dict[str, Any]]]]:
    """Return a study's files by name, and the rows about them of the data set's tables."""
    sagittal = images.sagittal
    files = {f"{number:02d}.jpg": data for number, data in enumerate(sagittal.jpegs(settings.sagittal.jpeg_quality))}
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
    levels = []
    for views in images.levels:
        if images.spine is None:  # pragma: no cover - views are of vertebrae that were found
            raise AssertionError("views of vertebrae that were not sought")
        vertebra = images.spine[views.level]
        name, data = f"{views.level}{views.settings.suffix}", views.mosaic()
        files[name] = data
        broken = (images.broken or {}).get(views.level)
        if broken is not None and broken.any():
            files[f"{views.level}.png"] = encode_cells(broken)
        levels.append(
            {
                "level": views.level,
                "path": f"images/{key}/{name}",
                "evidence_path": f"images/{key}/{views.level}.png" if f"{views.level}.png" in files else None,
                "scanned_fraction": vertebra.scanned_fraction,
                "confidence": vertebra.confidence,
                "faults": "; ".join(images.image_quality_problems.get(views.level, ())),
                "centroid_lps_mm": vertebra.centroid_lps_mm.tolist(),
                "box_lps": views.box_lps.ravel().tolist(),
                "bytes": len(data),
            }
        )
    return files, {"images": rows, "levels": levels}
