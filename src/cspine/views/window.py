"""Intensity windowing: Hounsfield units to gray values."""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cspine.core.settings import Settings
from cspine.core.typing import Grays


class Window(Settings):
    """Which range of Hounsfield units is mapped to gray."""

    centre_hu: float = Field(500.0, description="Center of the bone window.")
    width_hu: float = Field(2000.0, gt=0.0, description="Width of the bone window.")


def to_gray(hu: npt.NDArray[np.floating], window: Window) -> Grays:
    """Map a window linearly to 0..255, as DICOM's LINEAR_EXACT does (PS3.3 C.11.2.1.3.2).

    >>> to_gray(np.array([-900.0, 500.0, 1500.0]), Window()).tolist()
    [0, 128, 255]
    """
    gray: Grays = _apply_window(hu, window, 255.0).astype(np.uint8)
    return gray


def to_gray16(hu: npt.NDArray[np.floating], window: Window) -> npt.NDArray[np.uint16]:
    """Map a window linearly to 0..65535, as `to_gray` does to 8 bits."""
    gray: npt.NDArray[np.uint16] = _apply_window(hu, window, 65535.0).astype(np.uint16)
    return gray


def _apply_window(hu: npt.NDArray[np.floating], window: Window, max_gray: float) -> npt.NDArray[np.floating]:
    fraction = (hu - window.centre_hu) / window.width_hu + 0.5
    return np.asarray(np.rint(np.clip(fraction, 0.0, 1.0) * max_gray))
