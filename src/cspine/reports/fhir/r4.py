"""R4 of a Bundle: the same content in the elements that R4 has."""

from collections.abc import Callable
from typing import Any, Final

from cspine.reports.fhir.codes import IMAGE_REGION, SOURCE_IMAGE, concept
from cspine.reports.fhir.context import Resource

_BODY_STRUCTURE_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/bodySite"
"""HL7's extension by which R4 refers to a BodyStructure."""


def to_r4(bundle: Resource) -> Resource:
    """Return a Bundle of R5 as one of R4.

    R4 has no ImagingSelection: the slice and the point become components of the Observation. The guide's profiles are
    those of R5, so that no resource claims one.

    Parameters
    ----------
    bundle : dict
        A Bundle of `cspine.reports.fhir.bundle`, which stays as it is.
    """
    resources = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    entries = [
        {"fullUrl": urn, "resource": _convert(resource, resources)}
        for urn, resource in resources.items()
        if resource["resourceType"] != "ImagingSelection"
    ]
    return {**bundle, "entry": entries}


def _convert(resource: Resource, resources: dict[str, Resource]) -> Resource:
    meta = {key: value for key, value in resource["meta"].items() if key != "profile"}
    converted = _CONVERTERS[resource["resourceType"]](resource, resources)
    return {**converted, "meta": meta}


def _report(report: Resource, _: dict[str, Resource]) -> Resource:
    return {"imagingStudy" if key == "study" else key: value for key, value in report.items()}


def _site(site: Resource, _: dict[str, Resource]) -> Resource:
    (included,) = site["includedStructure"]
    return {**_without(site, "includedStructure"), "location": included["structure"]}


def _observation(observation: Resource, resources: dict[str, Resource]) -> Resource:
    reference = observation["bodyStructure"]
    site = resources[reference["reference"]]["includedStructure"][0]["structure"]
    extension = {"url": _BODY_STRUCTURE_EXTENSION, "valueReference": reference}
    converted = _without(observation, "bodyStructure", "derivedFrom") | {"bodySite": site | {"extension": [extension]}}
    components = list(observation.get("component", ()))
    for selected in observation.get("derivedFrom", ()):
        components += _evidence_components(resources[selected["reference"]])
    return converted | ({"component": components} if components else {})


def _evidence_components(selection: Resource) -> list[Resource]:
    (instance,) = selection["instance"]
    (region,) = instance["imageRegion3D"]
    frame = f", frame {instance['subset'][0]}" if "subset" in instance else ""
    number = f", instance number {instance['number']}" if "number" in instance else ""
    point = ", ".join(f"{value:.1f}" for value in region["coordinate"])
    return [
        {
            "code": concept(SOURCE_IMAGE, text="Slice that shows the strongest evidence"),
            "valueString": f"SOP instance UID {instance['uid']}{frame}{number}, series UID {selection['seriesUid']}",
        },
        {
            "code": concept(IMAGE_REGION, text="Point of the strongest evidence, LPS in mm"),
            "valueString": point,
        },
    ]


def _device(device: Resource, _: dict[str, Resource]) -> Resource:
    names = [{"name": each["value"], "type": each["type"]} for each in device["name"]]
    properties = [
        {"type": each["type"], "valueCode": [concept(text=each["valueString"])]} for each in device["property"]
    ]
    rest = _without(device, "displayName", "name", "type", "property")
    return {**rest, "deviceName": names, "type": device["type"][0], "property": properties}


def _without(resource: Resource, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key not in keys}


_CONVERTERS: Final[dict[str, Callable[[Resource, dict[str, Resource]], Resource]]] = {
    "DiagnosticReport": _report,
    "BodyStructure": _site,
    "Observation": _observation,
    "Device": _device,
}
