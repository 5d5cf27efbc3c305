"""A scan without a cervical spine is not assessable."""

import numpy as np
import pytest

from cspine.core.errors import NotAssessableError
from cspine.spine.spine_map import SpineMap, Vertebra

BOX_MM = np.array([[-25.0, -9.0, -9.0], [25.0, 35.0, 9.0]])


def vertebra(level: str, *, confidence: float, volume_mm3: float) -> Vertebra:
    return Vertebra(level, np.eye(4), np.zeros(3), BOX_MM, 1.0, confidence, volume_mm3)


@pytest.mark.parametrize(
    ("spine", "message"),
    [
        (SpineMap((vertebra("C4", confidence=0.3, volume_mm3=900.0),)), "likely to be cervical"),
        (SpineMap((vertebra("T1", confidence=1.0, volume_mm3=9000.0),)), "no cervical vertebra"),
        (SpineMap(()), "no cervical vertebra"),
    ],
    ids=["uncertain level", "thoracic", "nothing"],
)
def test_require_cervical_raises(spine: SpineMap, message: str) -> None:
    with pytest.raises(NotAssessableError, match=message) as caught:
        spine.require_cervical()

    assert caught.value.code == "no-cervical-spine"
