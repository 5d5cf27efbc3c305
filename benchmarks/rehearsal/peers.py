"""Compiling beside peers: MONAI's persistent cache and TorchIO load, resample, crop to vertebrae and save.

Neither finds vertebrae, so both are told where they lie, by the boxes that cspine has compiled; cspine localizes them
itself. MONAI: `LoadImage` of a DICOM series, `Orientation`, `Spacing` to 0.5 mm, one crop per vertebra, saved by
`PersistentDataset`. TorchIO: `ScalarImage`, `ToCanonical`, `Resample` to 0.5 mm, one `Crop` per vertebra, saved as
compressed NIfTI. cspine writes what it compiles: nine sagittal images and 15 views of each vertebra, at 0.5 mm and
finer.

Run: by ``python -m benchmarks.rehearsal``, each in a process of its own; ``pip install torchio itk``.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

PIXEL_MM: Final = 0.5
PEERS: Final = ("MONAI", "TorchIO")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of studies")
    parser.add_argument("--compiled", type=Path, required=True, help="the same studies, compiled")
    parser.add_argument("--out", type=Path, required=True, help="what the peer writes")
    options = parser.parse_args()
    boxes = read_boxes(options.compiled)
    save: Callable[[Path, dict[str, Any], Path], None] = {"MONAI": monai, "TorchIO": torchio}[options.peer]
    options.out.mkdir(parents=True)
    begin = time.perf_counter()
    for uid, levels in boxes.items():
        save(options.data / "train_images" / uid, levels, options.out)
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - begin, "studies": len(boxes)}) + "\n")


def read_boxes(compiled: Path) -> dict[str, dict[str, Any]]:
    """Return the corners of each vertebra's box in LPS millimeters, (8, 3), by study and level."""
    from cspine.datasets.compiled import CompiledDataset

    dataset = CompiledDataset.open(compiled)
    assert dataset.settings.levels is not None
    half_mm = dataset.settings.levels.half_mm
    corners_mm = np.array([[x, y, z, 1.0] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * ([half_mm] * 3 + [1.0])
    boxes: dict[str, dict[str, Any]] = {}
    for uid, level, box in dataset.levels()[["study_instance_uid", "level", "box_lps"]].itertuples(index=False):
        to_lps = np.asarray(box, float).reshape(4, 4)
        boxes.setdefault(str(uid), {})[str(level)] = (corners_mm @ to_lps.T)[:, :3]
    return boxes


def monai(folder: Path, levels: dict[str, Any], out: Path) -> None:
    """Load, resample, crop and cache a study with MONAI."""
    from monai.data import PersistentDataset
    from monai.transforms import Compose, Lambdad, LoadImaged, Orientationd, Spacingd

    def crop(image: Any) -> list[Any]:
        to_index = np.linalg.inv(np.asarray(image.affine, float))
        crops = []
        for corners in levels.values():
            ras = corners * [-1, -1, 1]
            index = ras @ to_index[:3, :3].T + to_index[:3, 3]
            crops.append(image[(slice(None), *_slices(index, image.shape[1:]))].clone())
        return crops

    transform = Compose(
        [
            LoadImaged(keys="image", reader="PydicomReader", image_only=True, ensure_channel_first=True),
            Orientationd(keys="image", axcodes="RAS", labels=None),
            Spacingd(keys="image", pixdim=(PIXEL_MM,) * 3, mode="bilinear"),
            Lambdad(keys="image", func=crop),
        ]
    )
    cache = PersistentDataset([{"image": str(folder)}], transform, cache_dir=out)
    cache[0]


def torchio(folder: Path, levels: dict[str, Any], out: Path) -> None:
    """Load, resample, crop and save a study with TorchIO."""
    import torchio as tio

    image = tio.Compose([tio.ToCanonical(), tio.Resample(PIXEL_MM)])(tio.ScalarImage(folder))  # type: ignore[no-untyped-call, unused-ignore]
    to_index = np.linalg.inv(np.asarray(image.affine, float))
    for level, corners in levels.items():
        ras = corners * [-1, -1, 1]
        index = ras @ to_index[:3, :3].T + to_index[:3, 3]
        bounds = []
        for part, length in zip(_slices(index, image.spatial_shape), image.spatial_shape, strict=True):
            bounds += [part.start, length - part.stop]
        tio.Crop(tuple(bounds))(image).save(out / f"{folder.name}-{level}.nii.gz")


def _slices(index: Any, shape: Any) -> tuple[slice, ...]:
    """Return the voxels between corners, within the volume."""
    first = np.clip(np.floor(index.min(axis=0)), 0, np.asarray(shape) - 1).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)), first + 1, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


if __name__ == "__main__":
    main()
