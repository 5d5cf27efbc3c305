"""Suspicious results by mail: levels and probabilities, no names."""

import smtplib
import ssl
from email.message import EmailMessage
from typing import Any, Final

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.server.database.tables import JobState
from cspine.server.delivery.outgoing import DeliveryError, OutgoingResult
from cspine.server.settings import DestinationSettings, read_secret

_PERMANENT: Final = 500
"""First status of an answer that no later attempt changes."""


def send_by_mail(destination: DestinationSettings, result: OutgoingResult) -> None:
    """Send a mail of a result that is suspicious, or that supersedes one of which a mail was sent.

    Raises
    ------
    DeliveryError
        The mail server cannot be reached, or refuses the mail, or some of its recipients: the others have it then.
    InputError
        The password cannot be read.
    """
    host, port = destination.host or "", destination.port or 0
    password = read_secret(destination.password)
    try:
        with smtplib.SMTP(host, port, timeout=destination.timeout_s) as server:
            if destination.starttls:
                server.starttls(context=ssl.create_default_context())
            if destination.username is not None:
                server.login(destination.username, password or "")
            refused = server.send_message(compose(destination, result))
    except smtplib.SMTPResponseException as error:
        raise DeliveryError(f"the mail server answers {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(
            f"the mail server cannot be used ({type(error).__name__})",
            is_unreachable=True,
            is_answered=isinstance(error, smtplib.SMTPException),
        ) from None
    if refused:
        raise DeliveryError(
            f"the mail server refuses {len(refused)} of {len(destination.recipients)} recipients; correct them",
            is_permanent=all(code >= _PERMANENT for code, _ in refused.values()),
        )


def compose(destination: DestinationSettings, result: OutgoingResult) -> EmailMessage:
    """Return the mail of a result; a repeat has the same Message-ID."""
    summary = result.summary
    levels = [each for each in summary["levels"] if each.get("is_suspicious")]
    lines = [f"  {each['label']}: {_percent(each['probability'])}" for each in levels]
    message = EmailMessage()
    is_suspicious = summary["is_suspicious"]
    message["Subject"] = (
        f"cspine: {'suspicious study' if is_suspicious else 'correction of study'} {summary['study'][:8]}"
    )
    message["From"] = destination.sender
    message["To"] = ", ".join(destination.recipients)
    message["Message-ID"] = f"<{result.key}@cspine.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "\n".join(
            [
                _sentence(summary),
                *(["Levels:", *lines] if lines else []),
                "Find it in the worklist by this key.",
                "",
                RESEARCH_USE_ONLY,
            ]
        )
    )
    return message


def _sentence(summary: dict[str, Any]) -> str:
    study = f"Study {summary['study']}"
    if summary["is_suspicious"]:
        return f"{study} is suspicious of a cervical spine fracture ({_percent(summary['patient_probability'])})."
    if summary["state"] == JobState.NOT_ASSESSABLE:
        return (
            f"{study} changed, and cannot be assessed any more. This does not say that the earlier, suspicious result "
            "was wrong."
        )
    return f"{study} is not suspicious any more: a later result supersedes the earlier one."


def _percent(probability: float | None) -> str:
    return "no probability" if probability is None else f"probability {100 * probability:.0f} %"
