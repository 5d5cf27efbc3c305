"""A compiled data set of sagittal images made of simple pictures, without any CT."""

from pathlib import Path

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.identifiers import pseudonym
from cspine.datasets.compiled import CompiledDataset
from cspine.localization.compiler import Compiler
from cspine.views.sagittal import SagittalSettings, encode_jpeg
from cspine.views.settings import CompileSettings

SETTINGS = CompileSettings(spine_aligned=False, sagittal=SagittalSettings(count=2, pixels=64), levels=None)


def make_sagittal_dataset(folder: Path, studies: int = 24, *, seed: int = 0, labeled: bool = True) -> CompiledDataset:
    """Write a data set in which studies with a C2 fracture show a bright square."""
    rng = np.random.default_rng(seed)
    dataset = Compiler(SETTINGS).create_dataset(folder, source="nowhere", is_phantom=True)
    rows = {}
    for number in range(studies):
        uid = f"1.2.{seed}.{number}"
        fractured = number % 2 == 0
        rows[uid] = {target: int(fractured and target in {"patient_overall", "C2"}) for target in TARGETS}
        images = rng.integers(0, 60, (2, 64, 64), dtype=np.uint8)
        if fractured:
            images[:, 16:48, 16:48] += 150
        jpegs = [encode_jpeg(image, 90) for image in images]
        files = {f"{number:02d}.jpg": data for number, data in enumerate(jpegs)}
        dataset.write_study(uid, files, _record(uid, jpegs))
    labels = pd.DataFrame.from_dict(rows, orient="index").rename_axis("StudyInstanceUID").astype("int8")
    dataset.finish(labels if labeled else None)
    return CompiledDataset.open(folder)


def _record(uid: str, jpegs: list[bytes]) -> dict[str, object]:
    return {
        "study_instance_uid": uid,
        "series_instance_uid": f"{uid}.1",
        "patient": pseudonym(None, uid),
        "status": "compiled",
        "reason": None,
        "slices": 100,
        "pixel_spacing_mm": 0.5,
        "slice_spacing_mm": 1.0,
        "images": [
            {
                "image": number,
                "path": f"images/{uid}/{number:02d}.jpg",
                "x_lps_mm": float(number),
                "offset_mm": float(number),
                "top_z_mm": 0.0,
                "front_y_mm": 0.0,
                "pixel_mm": 1.0,
                "bytes": len(data),
            }
            for number, data in enumerate(jpegs)
        ],
    }
