"""The search over training settings: which are searched, within which bounds, and by which metric."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cspine.core.errors import InputError
from cspine.core.settings import read_settings
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.settings import TrainerSettings
from cspine.training.task import VAL_LOSS

SETTINGS_OF: Final[dict[str, type[TrainerSettings]]] = {
    "levels": LevelTrainSettings,
    "baseline-cnn": BaselineTrainSettings,
}
"""Networks whose settings can be searched, with the type of these."""

_BESIDE_SETTINGS: Final = {"levels": ("auxiliary_data", "init_weights"), "baseline-cnn": ()}
"""Options of training that are no settings of the network; they are fixed, and not searched."""

_NEVER_SEARCHED: Final = ("model", "seed", "fold", "folds", "only_fold", "prevalence")
"""Settings that decide what is measured, so that values of different ones cannot be compared."""

Scalar = bool | int | float | str


class Range(BaseModel):
    """A range of numbers: whole ones where both bounds are whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = Field(False, description="Whether the logarithm is drawn uniformly.")
    step: int | float | None = Field(None, gt=0, description="Only low, low + step, ... are drawn.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 where log is true")
        if self.log and self.step is not None:
            raise ValueError("give log or step, not both")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def examples(self) -> tuple[Any, ...]:
        """The bounds."""
        return (self.low, self.high)


class Choices(BaseModel):
    """A set of values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: tuple[Scalar | tuple[int, ...], ...] = Field(min_length=2)

    @property
    def examples(self) -> tuple[Any, ...]:
        """All values."""
        return self.choices


class Search(BaseModel):
    """A search over the settings of a network, as its TOML file holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["levels", "baseline-cnn"] = Field("levels", description="The network.")
    trials: int = Field(40, ge=1, le=100_000, description="Trials of all workers together.")
    metric: str = Field(VAL_LOSS, description="Column of curves.csv; of a trial the best epoch counts.")
    direction: Literal["minimize", "maximize"] = "minimize"
    sampler: Literal["tpe", "random"] = Field("tpe", description="How settings are drawn.")
    pruner: Literal["median", "halving", "none"] = Field("median", description="Which trials are stopped early.")
    startup_trials: Annotated[int, Field(ge=1, description="Trials that are drawn at random and run to the end.")] = 8
    warmup_epochs: Annotated[int, Field(ge=0, description="Epochs before which no trial is stopped.")] = 1
    seed: int = Field(0, ge=0, description="Seed of the draws; each training has the network's own.")
    settings: dict[str, Any] = Field({}, description="Settings that all trials have.")
    search: dict[str, Range | Choices] = Field(min_length=1, description="Settings that are searched.")

    @model_validator(mode="before")
    @classmethod
    def _tell_ranges_from_choices(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Parse each searched setting as what it is, so that the error is about that kind alone."""
        if not isinstance(values, dict) or not isinstance(values.get("search"), dict):
            return values
        parsed = {}
        for name, space in values["search"].items():
            if not isinstance(space, dict):
                parsed[name] = space
                continue
            kind = Choices if "choices" in space else Range
            try:
                parsed[name] = kind.model_validate(space)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(["search", name, *(str(part) for part in first["loc"])])
                raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
        return {**values, "search": parsed}

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        fields = SETTINGS_OF[self.model].model_fields
        for name in (*self.settings, *self.search):
            if name not in fields and (name in self.search or name not in _BESIDE_SETTINGS[self.model]):
                similar = get_close_matches(name, fields, 1)
                hint = f"; did you mean {similar[0]}?" if similar else ""
                raise ValueError(f"{name} is no setting of {self.model}{hint}")
        for name in self.search:
            if name in self.settings:
                raise ValueError(f"{name} is both fixed and searched; keep one of the two")
            if name in _NEVER_SEARCHED:
                raise ValueError(f"{name} cannot be searched: it decides what is measured")
        for name, space in self.search.items():
            for value in space.examples:
                self._check_value(f"search.{name}", name, value)
        for name, value in self.settings.items():
            self._check_value(f"settings.{name}", name, value)
        return self

    def _check_value(self, where: str, name: str, value: object) -> None:
        if name not in SETTINGS_OF[self.model].model_fields:
            return
        try:
            SETTINGS_OF[self.model].model_validate({name: value})
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}: {value}: {message}") from error

    @property
    def epochs(self) -> int | None:
        """Epochs of every trial; None where they are searched."""
        if "epochs" in self.search:
            return None
        return int(self.settings.get("epochs", SETTINGS_OF[self.model].model_fields["epochs"].default))


def read_search(path: Path) -> Search:
    """Read a search from TOML.

    Raises
    ------
    InputError
        The file cannot be read, or something in it is wrong: one sentence on the first fault.
    """
    try:
        return read_settings(path, Search)
    except InputError as error:
        raise InputError(str(error).replace(": the file: ", ": ")) from error
