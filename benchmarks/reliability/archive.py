"""The destination: an archive that counts what arrives, refuses at times, and drops associations."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pynetdicom import AE, StoragePresentationContexts, evt

_OUT_OF_RESOURCES: Final = 0xA700


class Archive:
    """A DICOM node that holds each object once, by its UID, and counts how often it came.

    Parameters
    ----------
    port : int
        Where it listens.
    seed : int
        Of what it refuses.
    """

    def __init__(self, port: int, *, seed: int = 0, refused_fraction: float = 0.02) -> None:
        self.port = port
        self.received: Counter[str] = Counter()
        self.n_refused = 0
        self._random = random.Random(seed)
        self._refused_fraction = refused_fraction
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen for the block."""
        entity = AE("PACS")
        entity.maximum_associations = 20
        # pynetdicom offers at most 128 contexts; an acceptor may support all
        entity.supported_contexts = StoragePresentationContexts
        entity.add_supported_context("1.2.840.10008.5.1.4.1.1.66.7")  # Label Map Segmentation Storage
        server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        try:
            yield
        finally:
            if server is not None:
                server.shutdown()

    def _store(self, event: Any) -> int:
        with self._lock:
            if self._random.random() < self._refused_fraction:
                self.n_refused += 1
                return _OUT_OF_RESOURCES
            self.received[str(event.request.AffectedSOPInstanceUID)] += 1
        return 0x0000
