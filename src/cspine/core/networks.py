"""The names of the networks."""

from typing import Literal

NetworkName = Literal["levels", "localizer", "baseline-cnn"]
"""A network that cspine trains: level classifier, localizer, or the baseline of sagittal images."""
