"""A compiled data set of vertebrae's views made of simple pictures, without any CT."""

from pathlib import Path

import highdicom
import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.identifiers import pseudonym
from cspine.datasets.compiled import CompiledDataset
from cspine.localization.compiler import Compiler
from cspine.spine.spine_map import SpineMap
from cspine.views.fracture_labels import CELL_PIXELS, encode_cells
from cspine.views.level_views import LevelViews, LevelViewSettings
from cspine.views.sagittal import SagittalSettings, encode_jpeg
from cspine.views.settings import CompileSettings

VIEWS = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=32)
SETTINGS = CompileSettings(sagittal=SagittalSettings(count=1, pixels=32), levels=VIEWS)


class Nowhere:
    """A locator that finds nothing."""

    sha256 = "0" * 64

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - whatever it is
        """Return no vertebrae."""
        return SpineMap(())


def make_views(folder: Path, studies: int = 24, *, seed: int = 0, absent: str = "C7") -> CompiledDataset:
    """Write a store in which a fractured vertebra shows a dark bar; `absent` is in no scan."""
    rng = np.random.default_rng(seed)
    store = Compiler(SETTINGS, Nowhere()).create_dataset(folder, source="nowhere", is_phantom=True)
    rows = {}
    for number in range(studies):
        uid = f"1.3.{seed}.{number}"
        broken = VERTEBRAE[number // 2 % 6] if number % 2 == 0 else None
        rows[uid] = {target: int(broken is not None and target in {"patient_overall", broken}) for target in TARGETS}
        files, levels = {"00.jpg": encode_jpeg(np.zeros((32, 32), np.uint8), 90)}, []
        for level in VERTEBRAE:
            if level == absent:
                continue
            images = rng.integers(150, 200, (len(VIEWS.planes), 32, 32), dtype=np.uint8)
            if level == broken:
                images[:, 12:20, 4:28] = 20
                cells = np.zeros((len(VIEWS.planes), 32 // CELL_PIXELS, 32 // CELL_PIXELS), np.uint8)
                cells[:, 3:5, 1:7] = 1
                files[f"{level}.png"] = encode_cells(cells)
            files[f"{level}.jpg"] = LevelViews(level, images, np.eye(4), VIEWS).mosaic()
            levels.append(
                {
                    "level": level,
                    "path": f"images/{uid}/{level}.jpg",
                    "evidence_path": f"images/{uid}/{level}.png" if level == broken else None,
                    "scanned_fraction": 1.0,
                    "confidence": 1.0,
                    "centroid_lps_mm": [0.0, 0.0, 0.0],
                    "fracture_types": "lamina" if level == broken else "",
                    "box_lps": np.eye(4).ravel().tolist(),
                    "bytes": len(files[f"{level}.jpg"]),
                }
            )
        image = {
            "image": 0, "path": f"images/{uid}/00.jpg", "x_lps_mm": 0.0, "offset_mm": 0.0, "top_z_mm": 0.0,
            "front_y_mm": 0.0, "pixel_mm": 1.0, "bytes": 1,
        }  # fmt: skip
        record = {
            "study_instance_uid": uid, "series_instance_uid": f"{uid}.1", "patient": pseudonym(None, uid),
            "status": "compiled", "reason": None, "images": [image], "levels": levels,
        }  # fmt: skip
        store.write_study(uid, files, record)
    labels = pd.DataFrame.from_dict(rows, orient="index").rename_axis("StudyInstanceUID").astype("int8")
    store.finish(labels)
    return CompiledDataset.open(folder)
