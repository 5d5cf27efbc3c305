"""Finding sites as BodyStructures, which the guide refers to in place of codes."""

from cspine.core.anatomy import Level
from cspine.reports.fhir.codes import CERVICAL_SPINE, FINDING_SITE, Coding, concept, profiled, vertebra_coding
from cspine.reports.fhir.context import BundleContext, Entry


def finding_site(level: Level, context: BundleContext) -> Entry:
    """Return a cervical vertebra of the patient."""
    return _site(level, vertebra_coding(level), context)


def finding_site_of_spine(context: BundleContext) -> Entry:
    """Return the cervical spine of the patient."""
    return _site("", CERVICAL_SPINE, context)


def _site(level: str, code: Coding, context: BundleContext) -> Entry:
    return context.entry(
        f"site {level}",
        {
            "resourceType": "BodyStructure",
            "meta": profiled(FINDING_SITE),
            "includedStructure": [{"structure": concept(code)}],
            "patient": context.patient,
        },
    )
