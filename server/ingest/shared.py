"""What all readers of a process share: the store, the engine's readers, places to be read in, and the leases."""

from __future__ import annotations

from dataclasses import dataclass

from server.engine.fair_semaphore import FairSemaphore
from server.ingest.checkpointer import Checkpointer, CheckpointPolicy
from server.ingest.lease_manager import LeaseManager
from server.ingest.text_reader import TextReader
from server.store.base import Store


@dataclass(frozen=True)
class Shared:
    """What all readers of a process share."""

    store: Store
    text: TextReader
    checkpointer: Checkpointer
    policy: CheckpointPolicy
    places: FairSemaphore
    leases: LeaseManager
    idle_seconds: float
