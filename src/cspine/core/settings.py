"""Settings: frozen, described, and identified by a hash."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


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
