"""Control inputs without bone."""

import numpy as np
from tests.support.views import VIEWS

from cspine.experiments.blanking import blank_views
from cspine.views.level_views import LevelViews


def test_blanked_views_keep_only_a_border_of_an_eighth() -> None:
    views = LevelViews("C4", np.full((9, 32, 32), 200, np.uint8), np.eye(4), VIEWS)

    blank = blank_views(views)

    assert not blank.images[:, 4:-4, 4:-4].any()
    assert (blank.images != 0).sum() == 9 * (32 * 32 - 24 * 24)
    assert (views.images == 200).all()  # the given views stay as they are
