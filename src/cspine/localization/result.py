"""The result of localizing one study."""

from dataclasses import dataclass

import highdicom

from cspine.core.findings import Spine
from cspine.spine.spine_map import SpineMap


@dataclass(frozen=True)
class LocalizationResult:
    """A study's vertebrae, with what they were found in.

    Attributes
    ----------
    volume : Volume or None
        Every few slices of the series; None where it could not be read.
    found : SpineMap
        The vertebrae as `spine` tells them; none where the study is refused.
    """

    spine: Spine
    volume: highdicom.Volume | None
    found: SpineMap
