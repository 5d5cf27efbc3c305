"""A compiled data set of level views made of simple pictures, without any CT."""

from pathlib import Path

import highdicom
import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS, VERTEBRAE, Level
from cspine.core.findings import WeightsIdentity
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


class StubLocalizer:
    """Identity of a localizer that is made for a test."""

    sha256 = "0" * 64

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of it."""
        return WeightsIdentity(name="stub", sha256=self.sha256, trained_on="nothing", phantom_only=True)


class EmptyLocalizer(StubLocalizer):
    """A localizer that finds no vertebra."""

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - whatever it is
        """Return no vertebrae."""
        return SpineMap(())


def make_level_dataset(folder: Path, studies: int = 24, *, seed: int = 0, absent: str = "C7") -> CompiledDataset:
    """Write a data set in which a fractured vertebra shows a dark bar; the level `absent` is in no scan."""
    rng = np.random.default_rng(seed)
    dataset = Compiler(SETTINGS, EmptyLocalizer()).create_dataset(folder, source="nowhere", is_phantom=True)
    labels = {}
    for number in range(studies):
        uid = f"1.3.{seed}.{number}"
        fractured = VERTEBRAE[number // 2 % 6] if number % 2 == 0 else None
        positive = {"patient_overall", fractured} if fractured else set()
        labels[uid] = {target: int(target in positive) for target in TARGETS}
        files, levels = {"00.jpg": encode_jpeg(np.zeros((32, 32), np.uint8), 90)}, []
        for level in VERTEBRAE:
            if level == absent:
                continue
            level_files, record = _level(rng, uid, level, is_fractured=level == fractured)
            files |= level_files
            levels.append(record)
        image = {
            "image": 0, "path": f"images/{uid}/00.jpg", "x_lps_mm": 0.0, "offset_mm": 0.0, "top_z_mm": 0.0,
            "front_y_mm": 0.0, "pixel_mm": 1.0, "bytes": 1,
        }  # fmt: skip
        record = {
            "study_instance_uid": uid, "series_instance_uid": f"{uid}.1", "patient": pseudonym(None, uid),
            "status": "compiled", "reason": None, "images": [image], "levels": levels,
        }  # fmt: skip
        dataset.write_study(uid, files, record)
    dataset.finish(pd.DataFrame.from_dict(labels, orient="index").rename_axis("StudyInstanceUID").astype("int8"))
    return CompiledDataset.open(folder)


def _level(
    rng: np.random.Generator, uid: str, level: Level, *, is_fractured: bool
) -> tuple[dict[str, bytes], dict[str, object]]:
    """Return the files and the record of one vertebra."""
    files = {}
    images = rng.integers(150, 200, (len(VIEWS.planes), 32, 32), dtype=np.uint8)
    if is_fractured:
        images[:, 12:20, 4:28] = 20
        cells = np.zeros((len(VIEWS.planes), 32 // CELL_PIXELS, 32 // CELL_PIXELS), np.uint8)
        cells[:, 3:5, 1:7] = 1
        files[f"{level}.png"] = encode_cells(cells)
    files[f"{level}.jpg"] = LevelViews(level, images, np.eye(4), VIEWS).mosaic()
    record: dict[str, object] = {
        "level": level,
        "path": f"images/{uid}/{level}.jpg",
        "cells_path": f"images/{uid}/{level}.png" if is_fractured else None,
        "scanned_fraction": 1.0,
        "confidence": 1.0,
        "centroid_lps_mm": [0.0, 0.0, 0.0],
        "fracture_types": "lamina" if is_fractured else "",
        "box_lps": np.eye(4).ravel().tolist(),
        "bytes": len(files[f"{level}.jpg"]),
    }
    return files, record
