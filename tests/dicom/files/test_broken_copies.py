"""Files of full length whose pixels end in zeros are told; blank rows that a scan has anyway are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.core.typing import HounsfieldUnits
from cspine.dicom import load_volume

HU = make_hu((16, 40, 40))


def scan(folder: Path, hu: HounsfieldUnits = HU) -> list[Path]:
    noise = np.random.default_rng(0).integers(-20, 20, hu.shape, dtype=np.int16)
    return write_series(folder, np.where(hu == -1024, hu, hu + noise).astype(np.int16))


def warnings(folder: Path, **options: object) -> list[str]:
    provenance = load_volume(folder, **options).provenance  # type: ignore[arg-type]
    assert provenance is not None
    return [repair for repair in provenance.repairs if "blank rows" in repair]


@pytest.mark.parametrize("kept_bytes", [0, 600, 2000])
@pytest.mark.parametrize("options", [{}, {"step": 2}, {"slices": (4, 16)}])
def test_files_whose_copy_broke_off_are_named(tmp_path: Path, kept_bytes: int, options: dict[str, object]) -> None:
    for path in scan(tmp_path)[10:14]:
        data = path.read_bytes()
        end = data.index(b"\xe0\x7f\x10\0OW") + 12 + kept_bytes
        path.write_bytes(data[:end] + bytes(len(data) - end))

    (warning,) = warnings(tmp_path, **options)

    count, name = (2, "11.dcm") if options == {"step": 2} else (4, "11.dcm")
    assert warning == (
        f"{count} files end in blank rows where the neighboring slices do not, first: {name}, as after a copy that "
        "broke off; copy the study again"
    )


def blank_in_all(hu: HounsfieldUnits) -> None:
    hu[:, -12:] = -1024


def masked(hu: HounsfieldUnits) -> None:
    for k in range(len(hu)):
        hu[k, 20 + k :] = -1024


@pytest.mark.parametrize("change", [blank_in_all, masked, lambda _: None])
def test_blank_rows_of_a_scan_are_not_named(tmp_path: Path, change: Callable[[HounsfieldUnits], None]) -> None:
    hu = HU.copy()
    change(hu)
    scan(tmp_path, hu)

    assert warnings(tmp_path) == []
