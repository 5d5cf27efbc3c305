"""Hounsfield units to grey values."""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cspine.core.settings import Settings


class Window(Settings):
    """Which Hounsfield units become which grey."""

    centre_hu: float = Field(500.0, description="Centre of the bone window.")
    width_hu: float = Field(2000.0, gt=0.0, description="Width of the bone window.")


def to_grey(hu: npt.NDArray[np.floating], window: Window) -> npt.NDArray[np.uint8]:
    """Map a window linearly to 0..255, as DICOM's LINEAR_EXACT does (PS3.3 C.11.2.1.3.2)."""
    levels: npt.NDArray[np.uint8] = _mapped(hu, window, 255.0).astype(np.uint8)
    return levels


def to_fine_grey(hu: npt.NDArray[np.floating], window: Window) -> npt.NDArray[np.uint16]:
    """Map a window linearly to 0..65535."""
    levels: npt.NDArray[np.uint16] = _mapped(hu, window, 65535.0).astype(np.uint16)
    return levels


def _mapped(hu: npt.NDArray[np.floating], window: Window, brightest: float) -> npt.NDArray[np.floating]:
    grey = (hu - window.centre_hu) / window.width_hu + 0.5
    return np.asarray(np.rint(np.clip(grey, 0.0, 1.0) * brightest))
