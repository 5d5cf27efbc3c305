"""Probabilities of disorders."""

from typing import Any, Final

from pydantic import Field

from cspine.core.settings import Settings


def _probability(value: float, description: str) -> float:
    probability: float = Field(value, ge=0.0, le=1.0, description=description)
    return probability


class DisorderSettings(Settings):
    """Probability of each disorder; those that exclude each other are drawn from what remains.

    They are far more frequent than in people, so that a network learns them.
    """

    child: float = _probability(0.10, "A child of 1 to 15 years.")
    small_adult: float = _probability(0.04, "An adult of 0.75 to 0.92 of the normal size.")
    tall_adult: float = _probability(0.03, "An adult of 1.06 to 1.2 of the normal size.")
    kyphosis: float = _probability(0.05, "A kyphosis of 15 to 45 degrees.")
    hyperlordosis: float = _probability(0.03, "A lordosis of 45 to 65 degrees.")
    torticollis: float = _probability(0.06, "A head turned by 25 to 60 degrees, often bent.")
    lateral_bend: float = _probability(0.04, "A lateral bend of 15 to 40 degrees.")
    cervicothoracic_scoliosis: float = _probability(0.03, "A scoliosis with its apex between C6 and T1.")
    high_pillow: float = _probability(0.05, "A head far in front, flexed by 15 to 40 degrees.")
    extended_head: float = _probability(0.05, "A head extended by 20 to 50 degrees.")
    listhesis: float = _probability(0.04, "A vertebra that has slipped by 2 to 5 mm.")
    congenital_block: float = _probability(0.05, "A congenital block of two or more vertebrae.")
    ankylosing_spondylitis: float = _probability(0.03, "An ankylosing spondylitis of 4 to 7 levels.")
    anterior_fusion: float = _probability(0.05, "Cages in 1 to 3 discs, mostly with a plate and screws.")
    disc_prosthesis: float = _probability(0.015, "One or two artificial discs.")
    corpectomy: float = _probability(0.02, "A cage in place of one or two bodies, with a plate.")
    posterior_fusion: float = _probability(0.04, "Screws and rods over 2 to 6 levels.")
    occipitocervical_fusion: float = _probability(0.02, "A plate on the occiput with rods to the neck.")
    wiring: float = _probability(0.01, "Wires about spinous processes.")
    laminectomy: float = _probability(0.03, "Arches removed at 1 to 5 levels.")
    collapsed_discs: float = _probability(0.08, "One to four discs of 0 to 2 mm.")
    vacuum_discs: float = _probability(0.04, "Gas in one to three discs.")
    large_osteophytes: float = _probability(0.07, "Osteophytes of 2 to 7 mm, some bridging.")
    worn_facets: float = _probability(0.06, "Enlarged, sclerotic joints.")
    dish: float = _probability(0.03, "Flowing bone in front of 4 to 7 vertebrae.")
    osteoporosis: float = _probability(0.06, "Trabecular bone of 40 to 120 HU, thin cortex.")
    dense_bone: float = _probability(0.04, "Trabecular bone of 480 to 700 HU, thick cortex.")
    bone_contrast: float = _probability(0.10, "Densities of bone times 0.7 to 1.35.")
    metastases: float = _probability(0.03, "Sclerotic, lytic or mixed metastases.")
    assimilated_atlas: float = _probability(0.015, "An atlas fused to the occiput.")
    os_odontoideum: float = _probability(0.015, "A dens apart from the axis.")
    missing_arch: float = _probability(0.02, "An atlas without all of its posterior arch.")
    cervical_ribs: float = _probability(0.03, "Ribs of C7.")
    long_transverse_processes: float = _probability(0.03, "Transverse processes of C7 as long as those of T1.")
    transitional_t1: float = _probability(0.015, "A T1 with rudimentary ribs.")


_NECK: Final[dict[str, Any]] = {
    "child": 0.02, "small_adult": 0.0, "tall_adult": 0.0, "kyphosis": 0.05, "hyperlordosis": 0.03, "torticollis": 0.03,
    "lateral_bend": 0.03, "cervicothoracic_scoliosis": 0.02, "high_pillow": 0.04, "extended_head": 0.04,
    "listhesis": 0.06, "congenital_block": 0.04, "ankylosing_spondylitis": 0.02, "anterior_fusion": 0.03,
    "disc_prosthesis": 0.01, "corpectomy": 0.01, "posterior_fusion": 0.02, "occipitocervical_fusion": 0.005,
    "wiring": 0.005, "laminectomy": 0.015, "collapsed_discs": 0.25, "vacuum_discs": 0.12, "large_osteophytes": 0.3,
    "worn_facets": 0.3, "dish": 0.05, "osteoporosis": 0.08, "dense_bone": 0.05, "bone_contrast": 0.0,
    "metastases": 0.02, "assimilated_atlas": 0.01, "os_odontoideum": 0.01, "missing_arch": 0.015,
    "cervical_ribs": 0.02, "long_transverse_processes": 0.02, "transitional_t1": 0.01,
}  # fmt: skip

NECK_DISORDERS: Final = DisorderSettings(**_NECK)
"""Disorders of the necks of a data set: worn ones often, implants seldom."""

MORE_NECK_DISORDERS: Final = DisorderSettings(
    **_NECK
    | {"kyphosis": 0.08, "listhesis": 0.08, "congenital_block": 0.06, "collapsed_discs": 0.35, "vacuum_discs": 0.18,
       "large_osteophytes": 0.4, "worn_facets": 0.4, "dish": 0.08, "osteoporosis": 0.12, "anterior_fusion": 0.04,
       "posterior_fusion": 0.03, "laminectomy": 0.02}
)  # fmt: skip
"""Those of the shifted domain."""

NO_DISORDERS: Final = DisorderSettings(**dict.fromkeys(DisorderSettings.model_fields, 0.0))
"""Settings of the plain phantom."""
