"""Settings of a compiled data set: which images are made of a study."""

from typing import Self

from pydantic import Field, model_validator

from cspine.core.settings import Settings
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings


class CompileSettings(Settings):
    """Which images are made of a study."""

    spine_aligned: bool = Field(
        True, description="Whether sagittal images are curved along the spine; parallel planes otherwise."
    )
    sagittal: SagittalSettings = Field(SagittalSettings(), description="The sagittal images of the complete spine.")
    levels: LevelViewSettings | None = Field(
        LevelViewSettings(), description="The views of each vertebra; none are made where null."
    )

    @model_validator(mode="after")
    def _levels_are_localized(self) -> Self:
        if self.levels is not None and not self.spine_aligned:
            raise ValueError("level views need spine_aligned, because their vertebrae must be localized")
        return self
