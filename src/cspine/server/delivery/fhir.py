"""Results to a FHIR server: the bundle as a transaction in which every resource replaces its earlier self."""

import json
from typing import Any, Final
from urllib.parse import quote

from cspine.core.errors import InputError
from cspine.core.files import read_json
from cspine.server.delivery.http import open_session, post
from cspine.server.delivery.outgoing import DeliveryError, OutgoingResult
from cspine.server.settings import DestinationSettings

_URN_SYSTEM: Final = "urn:ietf:rfc:3986"
"""System of identifiers that are URNs (FHIR, identifier registry)."""

_SUCCESS: Final = (200, 201)


def send_by_fhir(destination: DestinationSettings, result: OutgoingResult) -> None:
    """Post the bundle of a result to the base URL of a FHIR server.

    Raises
    ------
    DeliveryError
        There is no bundle, the server cannot be reached, or refuses the transaction.
    """
    try:
        bundle = read_json(result.fhir_file)
    except InputError:
        raise DeliveryError("the result holds no FHIR bundle; set prediction.fhir", is_permanent=True) from None
    result.keep_lease()
    body = json.dumps(as_transaction(bundle)).encode()
    headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
    with open_session(destination) as session:
        status, _ = post(session, destination, destination.url or "", body, headers)
    if status not in _SUCCESS:
        raise DeliveryError(f"the FHIR server refuses the transaction ({status})")


def as_transaction(bundle: dict[str, Any]) -> dict[str, Any]:
    """Return a collection as a transaction of conditional updates.

    A resource is looked up by its identifier, and created where there is none: the same result twice is one. Resources
    without an identifier get their URN as one, which is a function of slices, weights and settings.

    Parameters
    ----------
    bundle : dict
        As `cspine.reports.fhir.bundle.write_fhir` writes it.
    """
    entries = [_as_update(entry) for entry in bundle["entry"]]
    return {"resourceType": "Bundle", "type": "transaction", "meta": bundle.get("meta", {}), "entry": entries}


def _as_update(entry: dict[str, Any]) -> dict[str, Any]:
    resource = dict(entry["resource"])
    identifiers = resource.get("identifier") or []
    if not identifiers:
        identifiers = resource["identifier"] = [{"system": _URN_SYSTEM, "value": entry["fullUrl"]}]
    token = f"{identifiers[0].get('system', '')}|{identifiers[0]['value']}"
    url = f"{resource['resourceType']}?identifier={quote(token, safe='')}"
    return {"fullUrl": entry["fullUrl"], "resource": resource, "request": {"method": "PUT", "url": url}}
