"""A secret that gives the same patient the same pseudonym, and the same UID the same new one, in every run."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cspine.core.errors import InputError
from cspine.core.files import output_errors

_BYTES: Final = 32
_MOST_DAYS: Final = 3650


@dataclass(frozen=True)
class Key:
    """The secret.

    Who has it can find out whether a known patient or UID is among pseudonyms; who has not, cannot.

    Attributes
    ----------
    secret : bytes
        32 of them.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "Key":
        """Make one up."""
        return cls(secrets.token_bytes(_BYTES))

    @classmethod
    def at(cls, path: Path) -> "Key":
        """Read the key from a file, or make one up and write it there, for its owner's eyes only.

        Raises
        ------
        InputError
            The file holds no key.
        DiskFullError, OutputError
            It cannot be written.
        """
        if path.exists():
            try:
                return cls(_secret(path.read_text(encoding="ascii")))
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: holds no key of cspine deidentify; name its file, or another") from error
        made = cls.new()
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:  # another run has just made it
                return cls.at(path)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(made.secret.hex() + "\n")
        return made

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without giving them away."""
        return self._of("fingerprint", "").hex()[:16]

    def uid(self, uid: str) -> str:
        """Return the new UID for an old one (PS3.5 annex B.2: 2.25 and 128 bits as a number)."""
        return f"2.25.{int.from_bytes(self._of('uid', uid)[:16], 'big')}"

    def pseudonym(self, patient: str) -> str:
        """Return what a patient is called."""
        return f"CSPINE-{self._of('patient', patient).hex()[:12].upper()}"

    def days(self, patient: str) -> int:
        """Return by how many days a patient's dates are moved, up to ten years into the past."""
        return -(1 + int.from_bytes(self._of("days", patient)[:8], "big") % _MOST_DAYS)

    def hidden(self, number: int) -> str:
        """Tells two numbers apart without giving them away."""
        return self._of("number", str(number)).hex()[:16]

    def _of(self, what: str, text: str) -> bytes:
        return hmac.new(self.secret, f"{what}\0{text}".encode(), hashlib.sha256).digest()


def _secret(text: str) -> bytes:
    secret = bytes.fromhex(text.strip())
    if len(secret) != _BYTES:
        raise ValueError("another length")
    return secret
