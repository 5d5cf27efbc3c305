"""UIDs of virtual studies."""

from dataclasses import dataclass

from pydicom.uid import generate_uid

from cspine.insertion.study import Kind


@dataclass(frozen=True)
class VirtualIdentity:
    """UIDs of a virtual study; all studies made from one patient's scans share a PatientID.

    Attributes
    ----------
    patient_id : str
        Pseudonym of the patient.
    source_uid : str
        StudyInstanceUID of the scan.
    seed, copy : int
        Seed of the data set, and number of the copy.
    kind : str
        See `cspine.insertion.study.Kind`.
    """

    patient_id: str
    source_uid: str
    seed: int
    copy: int
    kind: Kind

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return self._uid("study")

    @property
    def patient_name(self) -> str:
        """PatientName."""
        return "VIRTUAL"

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self._uid("series")

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID."""
        return self._uid("frame")

    def sop_uid(self, number: int) -> str:
        """Return the SOPInstanceUID of the slice with this instance number."""
        return self._uid(f"slice {number}")

    def _uid(self, entity: str) -> str:
        return generate_uid(
            entropy_srcs=["cspine insertion", self.source_uid, str(self.seed), str(self.copy), self.kind, entity]
        )
