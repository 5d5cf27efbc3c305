"""A DICOM node that runs for a test, and what is sent to it."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from pynetdicom.association import Association

from cspine.server.node.service import Node
from cspine.server.spool.folders import Spool
from tests.support.codecs import Syntax
from tests.support.dicom import make_hu, write_series
from tests.support.server import ServerParts, make_parts


@dataclass(frozen=True)
class RunningNode:
    """A node on loopback with its database and spool."""

    node: Node
    parts: ServerParts

    @property
    def port(self) -> int:
        return self.node.port

    @property
    def spool(self) -> Spool:
        return self.parts.spool

    def stored(self) -> set[str]:
        """Return the SOPInstanceUID of every object in the spool."""
        files = (path for folder in self.spool.study_folders() for path in folder.iterdir())
        return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}

    def associate(self, contexts: Sequence[tuple[str, str]] = (), **options: Any) -> Association:
        """Return an association with the node; of no contexts given, that of C-ECHO."""
        entity = AE(ae_title=options.pop("calling", "SCANNER"))
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        for uid, syntax in contexts or [("1.2.840.10008.1.1", "1.2.840.10008.1.2")]:
            entity.add_requested_context(uid, syntax)
        called = options.pop("called", self.parts.settings.node.ae_title)
        port = options.pop("port", self.port)
        return entity.associate("127.0.0.1", port, ae_title=called, **options)

    def send(self, datasets: Sequence[Dataset], **options: Any) -> list[int]:
        """Send objects over one association and return the status of each."""
        contexts = sorted({(str(each.SOPClassUID), str(each.file_meta.TransferSyntaxUID)) for each in datasets})
        association = self.associate(contexts, **options)
        assert association.is_established
        try:
            return [int(association.send_c_store(each).Status) for each in datasets]
        finally:
            association.release()


@contextmanager
def running_node(folder: Path, *, receiver: Any = None, **tables: Any) -> Iterator[RunningNode]:
    """Run a node whose settings are the defaults with changes, by table."""
    parts = make_parts(folder, **{**tables, "node": {"port": 0, **tables.get("node", {})}})
    running = RunningNode(Node(parts.settings, parts.database, parts.spool, receiver), parts)
    running.node.start()
    try:
        yield running
    finally:
        running.node.stop(grace_s=2.0)
        parts.database.close()


def read_slices(folder: Path, n: int = 3, *, syntax: Syntax | None = None) -> list[Dataset]:
    """Return the slices of a small series, with the class that a C-STORE names."""
    options: dict[str, Any] = {"syntax": syntax.uid, "encode": syntax.encode, "change": syntax.change} if syntax else {}
    datasets: list[Dataset] = [pydicom.dcmread(path) for path in write_series(folder, make_hu((n, 16, 12)), **options)]
    for dataset in datasets:
        dataset.SOPClassUID = CTImageStorage
    return datasets


def make_certificates(folder: Path) -> tuple[Path, dict[str, tuple[Path, Path]]]:
    """Make an authority and, signed by it, a certificate and a key for ``node`` and ``scanner``; one for ``stranger``.

    Returns
    -------
    Path
        The authority's certificate.
    dict
        Certificate and key by name; the stranger has signed its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = _certificate(folder, "authority")
    pairs = {name: _certificate(folder, name, authority) for name in ("node", "scanner")}
    return authority[0], pairs | {"stranger": _certificate(folder, "stranger")}


def _certificate(folder: Path, name: str, authority: tuple[Path, Path] | None = None) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    signed_by = ["-CA", str(authority[0]), "-CAkey", str(authority[1])] if authority else []
    arguments = [
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        *signed_by,
    ]
    command = ["openssl", "req", *arguments, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
