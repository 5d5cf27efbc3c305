"""The secret key of de-identification: equal keys give equal pseudonyms and UIDs in every run."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cspine.core.errors import InputError
from cspine.core.files import output_errors

_SECRET_BYTES: Final = 32
_MAX_SHIFT_DAYS: Final = 3650


@dataclass(frozen=True)
class PseudonymKey:
    """A secret from which pseudonyms, UIDs and date shifts are derived by HMAC-SHA-256.

    With the key, it can be tested whether a known patient or UID is among the pseudonyms; without it, it cannot.

    Attributes
    ----------
    secret : bytes
        The key itself, 32 random bytes.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "PseudonymKey":
        """Return a new random key."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def load_or_create(cls, path: Path) -> "PseudonymKey":
        """Read the key from a file, or write a new one there that only its owner can read.

        Parameters
        ----------
        path : Path
            The key file: 64 hexadecimal digits.

        Returns
        -------
        PseudonymKey

        Raises
        ------
        InputError
            The file does not hold a key.
        DiskFullError, OutputError
            The file cannot be written.
        """
        if path.exists():
            try:
                return cls(_parse_secret(path.read_text(encoding="ascii")))
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: holds no key of cspine deidentify; name its file, or another") from error
        key = cls.generate()
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:  # another process has just created it
                return cls.load_or_create(path)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(key.secret.hex() + "\n")
        return key

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the key without revealing it."""
        return self._digest("fingerprint", "").hex()[:16]

    def replace_uid(self, uid: str) -> str:
        """Return the new UID for an original one: 2.25 and 128 bits as a number (PS3.5, annex B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def pseudonym(self, patient_id: str) -> str:
        """Return the pseudonym of a patient, such as CSPINE-0123456789AB."""
        return f"CSPINE-{self._digest('patient', patient_id).hex()[:12].upper()}"

    def date_shift_days(self, patient_id: str) -> int:
        """Return the shift of a patient's dates: 1 to 3650 days into the past, as a negative number."""
        return -(1 + int.from_bytes(self._digest("days", patient_id)[:8], "big") % _MAX_SHIFT_DAYS)

    def hash_number(self, number: int) -> str:
        """Return 16 hexadecimal digits that identify a number without revealing it."""
        return self._digest("number", str(number)).hex()[:16]

    def _digest(self, purpose: str, text: str) -> bytes:
        """Return the HMAC of a text; digests for different purposes are unrelated."""
        return hmac.new(self.secret, f"{purpose}\0{text}".encode(), hashlib.sha256).digest()


def _parse_secret(text: str) -> bytes:
    secret = bytes.fromhex(text.strip())
    if len(secret) != _SECRET_BYTES:
        raise ValueError("wrong length")
    return secret
