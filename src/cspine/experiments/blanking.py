"""Control inputs without bone: images whose vertebrae are blacked out.

Whatever a network still predicts from them better than at random comes from the surroundings of the bone or from the
data set, not from fractures.
"""

from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from cspine.views.compiled import CompiledVolume
from cspine.views.level_views import LevelViews

Pixels = TypeVar("Pixels", bound=npt.NDArray[np.unsignedinteger])

_BORDER_DIVISOR: Final = 8
"""An eighth of the image remains at each border: the bone lies in the inner three quarters."""


def blank_volume(images: CompiledVolume) -> CompiledVolume:
    """Return a study's compiled images with all vertebrae blacked out.

    Parameters
    ----------
    images : CompiledVolume
        Sagittal images, and views of vertebrae where they were compiled.
    """
    sagittal = images.sagittal
    blank = replace(sagittal, images=_blank(sagittal.images))
    levels = tuple(blank_views(views) for views in images.levels)
    return replace(images, levels=levels, make_sagittal=lambda: blank)


def blank_views(views: LevelViews) -> LevelViews:
    """Return the views of a vertebra with the vertebra blacked out.

    Parameters
    ----------
    views : LevelViews
        Views of one vertebra.
    """
    return replace(views, images=_blank(views.images))


def _blank(images: Pixels) -> Pixels:
    blank, border = images.copy(), images.shape[1] // _BORDER_DIVISOR
    blank[:, border:-border, border:-border] = 0
    return blank
