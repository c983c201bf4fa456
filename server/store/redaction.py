"""Pure rules of a redaction: text that is removed from a session, its memories and its kept text for certain."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from server.store import rules, text_hash
from server.store.base import CheckpointInfo, Redaction, SessionRecord, StaleCheckpoint, StoredCheckpoint

# What stands for a deleted byte in a kept text.
BLANK = b"\n"


def check(record: SessionRecord, redaction: Redaction, names: Collection[str], lineage: str) -> None:
    rules.check_rewind(record, redaction.checkpoint, lineage)
    if redaction.checkpoint.offset != record.accepted_bytes:
        raise StaleCheckpoint(
            f"the memory has read {redaction.checkpoint.offset} bytes, but the text ends at {record.accepted_bytes}: "
            "read the rest first"
        )
    if {*redaction.snapshots, *redaction.kept} != {*names}:
        raise StaleCheckpoint("a snapshot was taken or dropped meanwhile: list the snapshots again")
    bounds = [bound for range_ in redaction.ranges for bound in range_]
    if bounds != sorted(bounds) or (bounds and not 0 <= bounds[0] <= bounds[-1] <= record.accepted_bytes):
        raise ValueError(f"the ranges of a text of {record.accepted_bytes} bytes are in order and within it")


def redacted(
    record: SessionRecord, redaction: Redaction, kept: Sequence[tuple[int, bytes]], lineage: str, at: float
) -> tuple[SessionRecord, Redaction]:
    """The record and the memories after a redaction; `kept` are the deleted bytes that the journal had, by offset.

    The chains change by what the journal had alone: of the rest nothing is left that they could be compared with.
    """

    def chain_of(info: CheckpointInfo) -> str:
        chain = info.chain
        for offset, old in kept:
            own = old[: max(0, info.offset - offset)]
            chain = text_hash.replaced(chain, own, BLANK * len(own), info.offset - offset - len(own)) if own else chain
        return chain

    def changed(checkpoint: StoredCheckpoint) -> StoredCheckpoint:
        return replace(checkpoint, info=checkpoint.info._replace(chain=chain_of(checkpoint.info)))

    memories = {name: changed(memory) for name, memory in redaction.snapshots.items()}
    checkpoint = changed(redaction.checkpoint)
    marks = tuple(
        mark._replace(name="") if any(begin <= mark.offset < end for begin, end in redaction.ranges) else mark
        for mark in record.marks
    )
    after = replace(
        rules.used(record, at),
        info=checkpoint.info,
        chain=checkpoint.info.chain,
        lineage=lineage,
        quarantined=None,
        marks=marks,
    )
    return after, replace(redaction, checkpoint=checkpoint, snapshots=memories)
