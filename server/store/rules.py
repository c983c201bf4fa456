"""Pure rules that all stores share: which arguments are valid, and how each operation changes a record."""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from server.store import text_hash
from server.store.base import (
    DOCUMENTS_MAX,
    JOURNAL_BYTES_KEPT,
    PIECE_BYTES_MAX,
    SNAPSHOTS_MAX,
    CharacterCut,
    CheckpointInfo,
    Lease,
    LeaseLost,
    Mark,
    OffsetMismatch,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    SessionTaken,
    SnapshotMissing,
    SnapshotTaken,
    StaleCheckpoint,
    StoredCheckpoint,
    StoreUnavailable,
    TooManyDocuments,
    TooManySnapshots,
)

_REVISED = ("metadata", "ttl_seconds")
# A UTF-8 character has up to four bytes, and all but its first are continuation bytes.
_OPEN_BYTES_MAX = 3
_CONTINUATION = range(0x80, 0xC0)


def check_new(record: SessionRecord, checkpoint: StoredCheckpoint | None = None) -> None:
    # Text that was accepted elsewhere is not in this journal, so a memory must have read it already.
    if record.read_bytes != record.accepted_bytes:
        raise ValueError(
            f"a new session cannot have unread text: accepted_bytes is {record.accepted_bytes}, "
            f"read_bytes is {record.read_bytes}"
        )
    check_marks(record.marks, record.accepted_bytes)
    if checkpoint is not None and record != begun(record, checkpoint):
        raise ValueError(
            f"a session that starts with a memory starts at the memory's offset {checkpoint.offset}, with its version, "
            "counts and chain: the record has others"
        )


def check_marks(marks: Sequence[Mark], accepted_bytes: int) -> None:
    offsets = [-1, *(mark.offset for mark in marks), accepted_bytes]
    if len(marks) > DOCUMENTS_MAX or any(one >= next_ for one, next_ in pairwise(offsets)):
        raise ValueError(f"the marks of {accepted_bytes} bytes of text are in order, and at most {DOCUMENTS_MAX}")


def check_piece(offset: int, piece: bytes) -> None:
    if offset < 0:
        raise ValueError(f"an offset is 0 or more, not {offset}")
    if not 1 <= len(piece) <= PIECE_BYTES_MAX:
        raise ValueError(f"a piece has 1 to {PIECE_BYTES_MAX} bytes, not {len(piece)}: send it in parts")


def placed(accepted: int, offset: int, piece: bytes, repeats: bool) -> tuple[bytes, bytes]:
    """Splits a piece into the part that lies before the accepted end and the part that is new."""
    if offset > accepted or (offset < accepted and not repeats):
        raise OffsetMismatch(accepted)
    return piece[: accepted - offset], piece[accepted - offset :]


def check_window(offset: int, limit: int) -> None:
    if offset < 0 or limit < 0:
        raise ValueError(f"offset and limit are 0 or more, not {offset} and {limit}")


def check_follows(record: SessionRecord, checkpoint: StoredCheckpoint) -> None:
    if checkpoint.version != record.version + 1:
        raise StaleCheckpoint(
            f"version {checkpoint.version} does not follow version {record.version}: recover and continue from there"
        )
    if not record.read_bytes <= checkpoint.offset <= record.accepted_bytes:
        raise StaleCheckpoint(
            f"offset {checkpoint.offset} is not between the read {record.read_bytes} and the accepted "
            f"{record.accepted_bytes} bytes: recover and continue from there"
        )


def check_snapshot(record: SessionRecord, names: Iterable[str], name: str, lineage: str, offset: int) -> None:
    check_lineage(record, lineage)
    taken_names = set(names)
    if name in taken_names:
        raise SnapshotTaken(f"there is a snapshot {name!r} already: choose another name, or delete it first")
    if len(taken_names) >= SNAPSHOTS_MAX:
        raise TooManySnapshots(f"the session has {SNAPSHOTS_MAX} snapshots, the maximum: delete one first")
    if offset > record.accepted_bytes:
        raise StaleCheckpoint(
            f"the memory has read {offset} bytes, but the text ends at {record.accepted_bytes}: "
            "recover and continue from there"
        )


def check_chain(known: str | None, checkpoint: StoredCheckpoint) -> None:
    """`StaleCheckpoint` when the memory has read another text: `known` is the stored text's chain at its offset."""
    if known not in (checkpoint.info.chain, None):
        raise StaleCheckpoint("the memory has read another text than the stored one: recover and continue from there")


def check_rewind(record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, marks: Sequence[Mark] = ()) -> None:
    check_marks(marks, checkpoint.offset)
    check_lineage(record, lineage)
    if checkpoint.version != record.version + 1:
        raise StaleCheckpoint(
            f"version {checkpoint.version} does not follow version {record.version}: get the session, and restore it "
            "again if that is still wanted"
        )


def check_rebuild(record: SessionRecord, journal_offset: int, lineage: str) -> None:
    check_lineage(record, lineage)
    if not record.keep_text or journal_offset > 0:
        kept = f"keeps its text from offset {journal_offset} on" if record.keep_text else "does not keep its text"
        raise StaleCheckpoint(
            f"the session {kept}, and a rebuild needs all of it: send the text to a new session that keeps its text"
        )


def check_lineage(record: SessionRecord, lineage: str) -> None:
    """`StaleCheckpoint` when the session was restored, rebuilt or created again since the caller read it."""
    if record.lineage != lineage:
        raise StaleCheckpoint(
            "the session has changed: it was restored, rebuilt or created again; get it again before you go on"
        )


def lineage_root(lineage: str) -> str:
    """The part of a lineage that stays when the session is restored or rebuilt."""
    return lineage.partition(".")[0]


def branched_lineage(lineage: str, branch: str) -> str:
    """The lineage after a restore or rebuild: it makes the memories that replicas have resident invalid."""
    return f"{lineage_root(lineage)}.{branch}"


def next_epoch(epoch: int, now_seconds: float) -> int:
    """The epoch of a new lease: above the last one, and, by the clock, above those of a store that was lost."""
    return max(epoch + 1, int(now_seconds * 1e6))


def used(record: SessionRecord, at: float) -> SessionRecord:
    """The record after the session was used at this time."""
    expires_at = None if record.ttl_seconds is None else at + record.ttl_seconds
    return replace(record, updated_at=at, expires_at=expires_at)


def is_expired(record: SessionRecord, at: float) -> bool:
    return record.expires_at is not None and record.expires_at <= at


def open_bytes(before: bytes | None, new: bytes) -> bytes | None:
    """The bytes at the end of a text that begin an incomplete UTF-8 character.

    `before` are the open bytes of the text before `new`, None if unknown. Returns None where `new` is too short to
    decide without them.
    """
    if before is None and len(new) < _OPEN_BYTES_MAX and all(byte in _CONTINUATION for byte in new):
        return None
    end = ((before or b"") + new)[-_OPEN_BYTES_MAX:]
    _, complete_bytes = codecs.utf_8_decode(end, "ignore", False)
    return end[complete_bytes:]


def marked(record: SessionRecord, new: bytes, document: str | None) -> tuple[Mark, ...]:
    """The marks once `new` was appended as text of the document of this name; None: of that of the text before it."""
    before = record.marks[-1].name if record.marks else ""
    if not new or document is None or document == before:
        return record.marks
    # Where the end of the text is not known, only a byte that goes on with a character shows that one is open.
    if record.open_bytes or (record.open_bytes is None and new[0] in _CONTINUATION):
        raise CharacterCut(record.accepted_bytes)
    if len(record.marks) + record.marks_trimmed >= DOCUMENTS_MAX:
        raise TooManyDocuments(DOCUMENTS_MAX, record.accepted_bytes)
    return (*record.marks, Mark(record.accepted_bytes, document))


def trimmed_marks(record: SessionRecord, journal_offset: int) -> SessionRecord:
    """The record without the marks that lie before a journal that starts at `journal_offset`, except the last."""
    passed = sum(mark.offset <= journal_offset for mark in record.marks)
    gone = max(0, passed - 1)
    return replace(record, marks=record.marks[gone:], marks_trimmed=record.marks_trimmed + gone)


def grown(record: SessionRecord, new: bytes, at: float, document: str | None = None) -> SessionRecord:
    """The record after `new` was appended to the accepted text, as text of this document (`marked`)."""
    return replace(
        used(record, at),
        accepted_bytes=record.accepted_bytes + len(new),
        chain=text_hash.extended(record.chain, new),
        open_bytes=open_bytes(record.open_bytes, new),
        marks=marked(record, new, document),
    )


def moved(record: SessionRecord, checkpoint: StoredCheckpoint, at: float) -> SessionRecord:
    """The record after `checkpoint` became the newest."""
    return replace(used(record, at), info=checkpoint.info)


def begun(record: SessionRecord, checkpoint: StoredCheckpoint) -> SessionRecord:
    """The record of a session that starts with `checkpoint`, and whose text ends there."""
    return replace(
        record,
        accepted_bytes=checkpoint.offset,
        chain=checkpoint.info.chain,
        info=checkpoint.info,
        # The end of the memory's text is inside its value, which is opaque here.
        open_bytes=None if checkpoint.offset else b"",
    )


def rewound(
    record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float, marks: tuple[Mark, ...]
) -> SessionRecord:
    """The record after the session was set back to `checkpoint`; `marks` are those of all text that it has read."""
    begun_again = begun(used(record, at), checkpoint)
    return replace(begun_again, lineage=lineage, quarantined=None, marks=marks, marks_trimmed=0)


def rebuilt(record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float) -> SessionRecord:
    """The record when the whole text is to be read again with these weights."""
    return replace(
        used(record, at),
        model=model,
        fingerprint=fingerprint,
        lineage=lineage,
        info=CheckpointInfo(version=record.version + 1),
        quarantined=None,
    )


def revised(record: SessionRecord, change: Mapping[str, object], at: float) -> SessionRecord:
    """The record after `change`, which may name only `metadata` and `ttl_seconds`."""
    if others := sorted(set(change) - set(_REVISED)):
        raise ValueError(f"{' and '.join(_REVISED)} can be changed, not {', '.join(others)}")
    return used(replace(record, **change), at)  # type: ignore[arg-type]  # the two names are checked


def keeps_text(record: SessionRecord, journal_offset: int, offset: int) -> bool:
    """Whether a journal may keep the text up to `offset` when the session is set back there."""
    return record.keep_text and journal_offset <= offset <= record.accepted_bytes


def trimmed_to(record: SessionRecord, journal_offset: int, covered_bytes: int) -> int:
    """Where a journal that starts at `journal_offset` may start once all checkpoints cover `covered_bytes`."""
    if record.keep_text:
        return journal_offset
    # Never earlier than before: text that was trimmed, or never stored here, does not come back.
    return max(journal_offset, min(covered_bytes, record.accepted_bytes - JOURNAL_BYTES_KEPT))


def is_unread(record: SessionRecord, bytes_min: int) -> bool:
    return record.quarantined is None and record.accepted_bytes - record.read_bytes >= bytes_min


def missing(key: SessionKey) -> SessionMissing:
    return SessionMissing(f"there is no session {key.id!r}: create it first")


def expired(key: SessionKey) -> SessionExpired:
    return SessionExpired(f"session {key.id!r} has expired: create it again and send its text again")


def lease_lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"another replica may read session {lease.key.id!r} now: take the lease again")


def stale_lease(lease: Lease) -> StaleCheckpoint:
    return StaleCheckpoint(
        f"the lease of epoch {lease.epoch} is not the latest one: take the lease again, recover and continue from there"
    )


def taken(key: SessionKey) -> SessionTaken:
    return SessionTaken(f"there is a session {key.id!r} already: choose another name, or delete it first")


def snapshot_missing(name: str) -> SnapshotMissing:
    return SnapshotMissing(f"there is no snapshot {name!r}: list the session's snapshots")


def trimmed(offset: int, journal_offset: int) -> StaleCheckpoint:
    return StaleCheckpoint(
        f"the journal at offset {offset} is trimmed, it is kept from {journal_offset} on: "
        "recover and continue from a newer checkpoint"
    )


def closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed: open it again")
