"""Sessions of browsers: signed cookies, which end after a working day or when their token is withdrawn."""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import OutputError

SESSION_HOURS: Final = 12
_KEY_BYTES: Final = 32
_KEY_FILE: Final = "web-session.key"


@dataclass(frozen=True)
class Session:
    """What a cookie says.

    Attributes
    ----------
    id : str
        Random identifier.
    name : str
        Name of the token.
    token_start : str
        First digits of the token's SHA-256.
    """

    id: str
    name: str
    token_start: str


class Sessions:
    """Makes and reads the cookies.

    Parameters
    ----------
    key : bytes
        Secret that signs them.

    Examples
    --------
    >>> sessions = Sessions(bytes(32))
    >>> cookie = sessions.make("ward", "ab" * 32)
    >>> sessions.open(cookie).name
    'ward'
    >>> sessions.open(cookie[:-1]) is None, Sessions(b"another key").open(cookie) is None
    (True, True)
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, name: str, token_sha256: str) -> str:
        """Return the cookie of a new session of a token's holder."""
        payload = {
            "id": secrets.token_urlsafe(16),
            "name": name,
            "token": token_sha256[:16],
            "until": time.time() + SESSION_HOURS * 3600.0,
        }
        text = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
        return f"{text}.{self._sign('session', text)}"

    def open(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None where it is not ours, or has ended."""
        text, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._sign("session", text).encode(), signature.encode()):
            return None
        try:
            payload = json.loads(base64.urlsafe_b64decode(text))
        except (ValueError, binascii.Error):
            return None
        if payload["until"] < time.time():
            return None
        return Session(payload["id"], payload["name"], payload["token"])

    def csrf_of(self, session_id: str) -> str:
        """Return what forms of a session have to send back, so that no other site can send them."""
        return self._sign("csrf", session_id)

    def is_csrf(self, expected: str, sent: str) -> bool:
        """Return whether a form sent back what it was given."""
        return bool(expected) and hmac.compare_digest(expected.encode(), sent.encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def read_session_key(folder: Path) -> bytes:
    """Return the secret that signs cookies; made on first use, readable by the server's user alone.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = folder / _KEY_FILE
    for _ in range(2):  # another process may make it at the same time
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            _make_key(path)
            continue
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        if len(key) == _KEY_BYTES:
            return key
        path.unlink(missing_ok=True)  # cut off by a full disk
        _make_key(path)
    return path.read_bytes()


def _make_key(path: Path) -> None:
    try:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check the spool folder") from error
