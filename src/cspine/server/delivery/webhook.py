"""Results to a webhook: JSON without names, signed, with a key by which a receiver knows a repeat."""

import hashlib
import hmac
import json
import time
from typing import Final

from cspine.server.delivery.http import open_session, post
from cspine.server.delivery.outgoing import DeliveryError, OutgoingResult
from cspine.server.settings import DestinationSettings, read_secret

SIGNATURE: Final = "X-Cspine-Signature"
TIMESTAMP: Final = "X-Cspine-Timestamp"
IDEMPOTENCY: Final = "Idempotency-Key"


def send_by_webhook(destination: DestinationSettings, result: OutgoingResult) -> None:
    """Post the summary of a result.

    Raises
    ------
    DeliveryError
        The receiver cannot be reached, or answers another status than 2xx.
    InputError
        The key of the signature cannot be read.
    """
    body = json.dumps(result.summary, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", IDEMPOTENCY: result.key}
    if (key := read_secret(destination.secret)) is not None:
        timestamp = str(int(time.time()))
        headers |= {TIMESTAMP: timestamp, SIGNATURE: sign(key, timestamp, body)}
    with open_session(destination) as session:
        status, _ = post(session, destination, destination.url or "", body, headers)
    if not 200 <= status < 300:
        raise DeliveryError(f"the webhook answers {status}")


def sign(key: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request: HMAC-SHA-256 over timestamp, a dot and the body.

    Parameters
    ----------
    key : str
        The secret that both sides know.
    timestamp : str
        Seconds since 1970; a receiver refuses old ones, so that a request that was overheard cannot be repeated.
    body : bytes
        The request's body.

    Examples
    --------
    >>> sign("key", "0", b"{}")[:15]
    'sha256=7314351d'
    """
    digest = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"
