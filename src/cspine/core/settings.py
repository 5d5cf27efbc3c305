"""Settings: frozen, described, identified by a hash, and read from TOML."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cspine.core.errors import InputError
from cspine.core.files import write_text

ModelT = TypeVar("ModelT", bound=BaseModel)


def digest(value: Any) -> str:  # noqa: ANN401 - anything JSON can hold
    """Return the SHA-256, in hex, of a JSON value written canonically (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Settings(BaseModel):
    """The base of all settings: immutable, unknown names are rejected, hashable by content."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the settings as canonical JSON."""
        return digest(self.model_dump(mode="json"))[:16]


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    InputError
        It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not TOML ({error}); correct the line") from error


def read_settings(path: Path, model: type[ModelT]) -> ModelT:
    """Return the settings of a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    model : type of pydantic model
        What it holds.

    Raises
    ------
    InputError
        The file cannot be read, is not TOML, or a setting is unknown or wrong: one sentence on the first fault.
    """
    try:
        return model.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}; correct the setting"
        ) from error


def write_toml(path: Path, values: Mapping[str, Any], *, comment: str = "") -> None:
    """Write settings as TOML, atomically; those that are None are left out.

    Parameters
    ----------
    path : Path
        The file.
    values : mapping of str to object
        Text, numbers, booleans, and sequences of these.
    comment : str
        First lines of the file, for people.

    Raises
    ------
    DiskFullError, OutputError
        It cannot be written.
    """
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"{name} = {_toml_value(value)}" for name, value in values.items() if value is not None]
    write_text(path, "\n".join(lines) + "\n")


def _toml_value(value: Any) -> str:  # noqa: ANN401 - any value of TOML
    """Return a value as TOML writes it, in which strings and numbers are as in JSON.

    >>> _toml_value((3, 3, 3)), _toml_value(True), _toml_value(1e-05), _toml_value("a")
    ('[3, 3, 3]', 'true', '1e-05', '"a"')
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value)
