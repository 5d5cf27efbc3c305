"""The digest of decoded slices: the same for the same values, another for any other value or order."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless
from tests.support.dicom import make_hu, write_series

from cspine.dicom import load_volume

HU = make_hu((12, 32, 40))
GEOMETRIES: dict[str, dict[str, Any]] = {
    "even": {},
    "sheared": {"shear_mm": 0.3},
    "gapped": {"spacing": (1.0, 2.0, 2.0), "change": lambda dataset, k: None if k == 6 else dataset},
}


def digest_of(folder: Path, hu: np.ndarray[Any, np.dtype[np.int16]] = HU, **options: Any) -> str:
    write_series(folder, hu, **options)
    provenance = load_volume(folder).provenance
    assert provenance is not None
    return provenance.pixel_digest


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_it_depends_on_the_values_alone(geometry: str, tmp_path: Path) -> None:
    options = GEOMETRIES[geometry]
    plain = digest_of(tmp_path / "plain", **options)

    assert digest_of(tmp_path / "again", **options) == plain
    encoded = digest_of(tmp_path / "encoded", syntax=JPEGLSLossless, encode=imagecodecs.jpegls_encode, **options)
    assert encoded == plain
    assert digest_of(tmp_path / "renumbered", upward=False, series="1.2.3", **options) == plain


def test_one_value_or_the_order_changes_it(tmp_path: Path) -> None:
    one = HU.copy()
    one[3, 5, 7] += 1
    digests = [digest_of(tmp_path / str(number), hu) for number, hu in enumerate((HU, one, HU[::-1]))]

    assert len(set(digests)) == 3
