"""Settings of the server: one TOML file, one table for each part."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from cspine.core.errors import InputError
from cspine.core.extras import FhirRelease
from cspine.core.settings import Settings, read_settings
from cspine.models.providers import ProviderName

AeTitle = Annotated[str, Field(pattern=r"^[ -\[\]-~]{1,16}$")]
"""An application entity title: 1 to 16 printable characters without a backslash (PS3.5, table 6.2-1, AE)."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A name that is safe in a path, a metric's label and a log."""

Role = Literal["reader", "operator"]
"""What a user may do: see studies and review them; or also rerun, cancel and see the operation."""

Urgency = Literal["routine", "urgent", "stat"]
"""How soon a study should be read: the order of `Priority` in HL7's orders."""

URGENCIES: Final[tuple[Urgency, ...]] = ("routine", "urgent", "stat")
"""The urgencies from low to high; the position is what the database holds."""

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

_REFERENCE: Final = "File whose first line is the secret; or `env:NAME` for an environment variable."


class StorageSettings(Settings):
    """Where the server keeps studies, results and its records."""

    spool: Path = Field(Path("cspine-spool"), description="Folder of objects and results, on one file system.")
    database: str | None = Field(
        None, description="URL of the database (sqlite or postgresql+pg8000); SQLite in the spool folder where null."
    )
    database_password: str | None = Field(None, description=_REFERENCE)
    workers: int = Field(1, ge=0, le=64, description="Processes on this machine that predict studies.")
    silent: bool = Field(False, description="Silent mode: studies are predicted and kept, and nothing leaves.")
    min_free_gb: float = Field(2.0, ge=0.0, description="Below this free space no object is accepted, GB.")


class TlsSettings(Settings):
    """Certificates of a TLS connection (PEM files)."""

    certificate: Path = Field(description="Our certificate with its chain.")
    key: Path = Field(description="Our private key.")
    authority: Path | None = Field(
        None, description="Certificates that peers have to be signed by; no certificate is asked for where null."
    )


class PeerSettings(Settings):
    """Application entities that may use the node."""

    ae_title: str = Field("*", description="Calling AE title; `*` for any.")
    address: str = Field("127.0.0.1", description="Address or network (CIDR) that it may call from.")

    @field_validator("address")
    @classmethod
    def _is_network(cls, value: str) -> str:
        ipaddress.ip_network(value, strict=False)
        return value

    def allows(self, ae_title: str, address: str) -> bool:
        """Return whether an application entity at an address is this peer."""
        try:
            caller = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
            caller = caller.ipv4_mapped
        return self.ae_title in {"*", ae_title.strip()} and caller in ipaddress.ip_network(self.address, strict=False)


class CommitmentPeer(Settings):
    """Where the result of a storage commitment is sent to, for peers that close their association at once."""

    ae_title: AeTitle = Field(description="AE title that asks for storage commitment.")
    host: str = Field(description="Its host.")
    port: int = Field(ge=1, le=65535, description="Its port.")


class NodeSettings(Settings):
    """The DICOM node."""

    enabled: bool = Field(True, description="Whether the node runs.")
    ae_title: AeTitle = Field("CSPINE", description="AE title of the node; others are refused.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(11112, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    allow: tuple[PeerSettings, ...] = Field(
        (PeerSettings(), PeerSettings(address="::1")), description="Who may send; loopback alone by default."
    )
    commitment_peers: tuple[CommitmentPeer, ...] = Field((), description="Where results of storage commitment go.")
    tls: TlsSettings | None = Field(None, description="Certificates; plain DICOM where null.")
    max_associations: int = Field(8, ge=1, le=256, description="Associations at one time.")
    max_associations_per_peer: int = Field(4, ge=1, le=256, description="Associations of one address at one time.")
    max_pdu_bytes: int = Field(131_072, ge=4_096, le=1_048_576, description="Largest PDU that is received.")
    timeout_s: float = Field(60.0, gt=0.0, description="Time without a message after which an association ends.")


class TokenSettings(Settings):
    """A token of the HTTP interface."""

    name: Name = Field(description="Who holds it; appears in the audit log.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token, in hex.")
    roles: tuple[Role, ...] = Field(("reader",), description="What it permits.")


class WebSettings(Settings):
    """The HTTP interface and the pages."""

    enabled: bool = Field(True, description="Whether it runs.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8042, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    certificate: Path | None = Field(None, description="Certificate with its chain (PEM), for HTTPS.")
    key: Path | None = Field(None, description="Private key (PEM), for HTTPS.")
    tokens: tuple[TokenSettings, ...] = Field((), description="Tokens; on loopback none is needed where there is none.")
    proxy_user_header: str | None = Field(
        None, description="Header in which a reverse proxy names the user; believed from `proxy_addresses` alone."
    )
    proxy_roles_header: str | None = Field(None, description="Header with the user's roles, separated by commas.")
    proxy_addresses: tuple[str, ...] = Field(("127.0.0.1", "::1"), description="Addresses of the reverse proxy.")
    behind_proxy: bool = Field(False, description="Whether a proxy provides HTTPS, so that plain HTTP may be served.")
    max_upload_gb: float = Field(4.0, gt=0.0, description="Largest request, GB.")
    requests_per_minute: int = Field(1_200, ge=1, description="Requests of one user or address; above it: 429.")
    viewer_folder: Path | None = Field(None, description="Folder of OHIF's files (`dist` of the npm package).")
    max_wait_min: float = Field(60.0, gt=0.0, description="Studies that waited longer come first in the worklist.")

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both, or none")
        if self.host not in LOOPBACK and self.certificate is None and not self.behind_proxy:
            raise ValueError(
                f"host {self.host} can be reached from outside without HTTPS; give certificate and key, or set "
                "behind_proxy, or listen on 127.0.0.1"
            )
        if self.host not in LOOPBACK and not self.tokens and self.proxy_user_header is None:
            raise ValueError("there is neither a token nor a proxy's user header; add [[web.tokens]]")
        return self


class UrgencyRule(Settings):
    """Which studies are urgent."""

    source: str = Field("*", description="Calling AE title, or `http:` and the user's name; `*` for any.")
    description_contains: str = Field("", description="Text in StudyDescription, without regard to case.")
    urgency: Urgency = Field("urgent", description="Their urgency.")


class IntakeSettings(Settings):
    """What is accepted, and when a study is complete."""

    quiet_s: float = Field(60.0, ge=0.0, description="A study is complete this long after its last object, s.")
    at_once: tuple[str, ...] = Field(
        (),
        description="Senders whose studies are complete when their association is released or their request ends: "
        "calling AE titles, `http:` and the user's name, or `*`.",
    )
    max_object_mb: float = Field(1_024.0, gt=0.0, description="Largest object, MB.")
    max_study_gb: float = Field(8.0, gt=0.0, description="Largest study, GB.")
    max_study_objects: int = Field(20_000, ge=1, description="Most objects of a study.")
    urgency: tuple[UrgencyRule, ...] = Field((), description="Rules; the first that fits counts.")

    def urgency_of(self, source: str, description: str) -> Urgency:
        """Return the urgency of a study; ``routine`` where no rule fits."""
        for rule in self.urgency:
            if rule.source in {"*", source} and rule.description_contains.lower() in description.lower():
                return rule.urgency
        return "routine"


class PredictionSettings(Settings):
    """How studies are predicted."""

    weights: tuple[str, ...] = Field((), description="Weights as of `cspine predict --weights`.")
    operating_points: str | None = Field(None, description="As of `cspine predict --operating-points`.")
    provider: ProviderName | None = Field(
        None, description="As of `cspine predict --provider`; `$CSPINE_PROVIDER`, or the CPU, where it is left out."
    )
    tta: bool = Field(False, description="Whether test-time augmentation is used.")
    fhir: bool = Field(True, description="Whether a FHIR bundle is made.")
    fhir_release: FhirRelease = Field("R5", description="Release of FHIR.")
    timeout_s: float = Field(900.0, gt=0.0, description="A study that takes longer fails, s.")
    max_attempts: int = Field(3, ge=1, description="Attempts before a study fails.")
    backoff_s: float = Field(30.0, ge=0.0, description="Wait before the second attempt; doubles with each, s.")
    lease_s: float = Field(
        60.0, ge=2.0, description="A worker that gives no sign of life for this long lost its job, s."
    )


class DestinationSettings(Settings):
    """Where results are sent to."""

    name: Name = Field(description="Its name in records, metrics and logs.")
    kind: Literal["dicom", "stow", "fhir", "webhook", "mail"] = Field(description="How results are sent.")
    send: Literal["all", "assessed", "suspicious"] = Field("all", description="Which studies' results are sent.")
    objects: Literal["all", "sr"] = Field("all", description="Which DICOM objects: all, or the report alone.")
    host: str | None = Field(None, description="Host of a DICOM node or mail server.")
    port: int | None = Field(None, ge=1, le=65535, description="Its port.")
    ae_title: AeTitle | None = Field(None, description="Called AE title of a DICOM node.")
    calling_ae_title: AeTitle = Field("CSPINE", description="Our AE title.")
    tls: TlsSettings | None = Field(None, description="Certificates of a DICOM node with TLS.")
    url: str | None = Field(None, description="URL of a STOW-RS service, a FHIR server or a webhook.")
    username: str | None = Field(None, description="User of the HTTP or mail server.")
    password: str | None = Field(None, description=_REFERENCE)
    token: str | None = Field(None, description=f"Bearer token of the HTTP server. {_REFERENCE}")
    secret: str | None = Field(None, description=f"Key of a webhook's signature. {_REFERENCE}")
    sender: str | None = Field(None, description="Address that mails come from.")
    recipients: tuple[str, ...] = Field((), description="Addresses that mails go to.")
    starttls: bool = Field(True, description="Whether the mail server's connection is encrypted by STARTTLS.")
    timeout_s: float = Field(60.0, gt=0.0, description="Timeout of a connection or answer, s.")
    max_attempts: int = Field(50, ge=1, description="Attempts that it refuses before a delivery fails.")
    backoff_s: float = Field(10.0, ge=0.0, description="Wait before the second attempt; doubles up to an hour, s.")

    _NEEDS: Final = {
        "dicom": ("host", "port", "ae_title"),
        "stow": ("url",),
        "fhir": ("url",),
        "webhook": ("url",),
        "mail": ("host", "port", "sender", "recipients"),
    }

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        missing = [name for name in self._NEEDS[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(f"destination {self.name} of kind {self.kind} needs {', '.join(missing)}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"destination {self.name}: url begins with http:// or https://")
        return self


class RetentionSettings(Settings):
    """How long what is kept; null for ever."""

    originals_days: float | None = Field(
        7.0, gt=0.0, description="Received objects, days after the last one of their study."
    )
    originals_gb: float | None = Field(
        200.0, gt=0.0, description="Received objects; the oldest with a result go first, GB."
    )
    results_days: float | None = Field(90.0, gt=0.0, description="Results, days.")
    results_gb: float | None = Field(50.0, gt=0.0, description="Results; the oldest go first, GB.")
    audit_days: float | None = Field(730.0, gt=0.0, description="Audit log, days.")


class ServerSettings(Settings):
    """All settings of `cspine serve`."""

    storage: StorageSettings = StorageSettings()
    node: NodeSettings = NodeSettings()
    web: WebSettings = WebSettings()
    intake: IntakeSettings = IntakeSettings()
    prediction: PredictionSettings = PredictionSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) < len(names):
            raise ValueError("two destinations have one name; give each its own")
        return self


def load_server_settings(path: Path | None) -> ServerSettings:
    """Return the settings of a TOML file; those without a file where none is given.

    Paths in the file are relative to its folder.

    Raises
    ------
    InputError
        The file cannot be read, is not TOML, or a setting is unknown or wrong.
    """
    if path is None:
        return ServerSettings()
    settings = read_settings(path, ServerSettings)
    resolved: ServerSettings = _resolved(settings, path.parent)
    return resolved


def read_secret(reference: str | None, folder: Path | None = None) -> str | None:
    """Return the secret that a setting refers to; None where there is none.

    Parameters
    ----------
    reference : str, optional
        A file, of which the first line counts, or ``env:NAME``.
    folder : Path, optional
        Folder that a relative path begins at.

    Raises
    ------
    InputError
        The file cannot be read, or the variable is not set. The message holds no secret.
    """
    if reference is None:
        return None
    if reference.startswith("env:"):
        name = reference.removeprefix("env:")
        if not (value := os.environ.get(name)):
            raise InputError(f"environment variable {name} is not set; set it to the secret")
        return value
    path = (folder or Path()) / reference
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise InputError(
            "the file of a secret cannot be read, or is empty; settings of secrets name a file with the secret in its "
            "first line, or `env:NAME`, and never hold the secret itself"
        ) from error


def _resolved(value: Any, folder: Path) -> Any:  # noqa: ANN401 - settings and what they hold
    """Return settings whose paths and references to files of secrets begin at a folder."""
    if isinstance(value, Settings):
        changes = {
            name: str(folder / part)
            if name in _SECRETS and isinstance(part, str) and not part.startswith("env:")
            else _resolved(part, folder)
            for name in type(value).model_fields
            if (part := getattr(value, name)) is not None
        }
        return value.model_copy(update=changes)
    if isinstance(value, tuple):
        return tuple(_resolved(part, folder) for part in value)
    return folder / value if isinstance(value, Path) else value


_SECRETS: Final = {"password", "token", "secret", "database_password"}
