"""Entries come back as they were encoded, and those from before there were snapshots as what they were."""

from server.store.base import SessionKey, SessionRecord
from server.store.manifest import CheckpointInfo, LineageSpan, Manifest, SnapshotInfo, decode
from tests.server.store.samples import read, record

EARLIER = b"""{"journal_offset":4,"marks":[[1,4,2,1,170,"c1","a1",170],[2,9,4,2,170,"c2","a2",170]],"record":
{"accepted_bytes":12,"chain":"c3","created_at":1.0,"expires_at":null,"fingerprint":"f00d","key":["acme","book"],
"lineage":"l","memory_bytes":170,"metadata":{"a":"b"},"model":"delta","quarantined":null,"read_bytes":9,
"read_chain":"c2","segments":2,"tokens":4,"ttl_seconds":null,"updated_at":3.0,"version":2}}"""


def test_an_entry_comes_back() -> None:
    mark = CheckpointInfo.of(read(b"text", 3), "attempt")
    kept = SnapshotInfo.of(record().updated(lineage="old"), "name", 2.0, mark)
    entry = Manifest(
        record().updated(keep_text=True, open_bytes="第".encode()[:2]),
        5,
        (mark, mark),
        (kept, kept),
        (LineageSpan(0, "a"), LineageSpan(5, "b")),
    )
    assert decode(entry.encode()) == entry
    assert decode(Manifest(record(), 0).encode()) == Manifest(record(), 0)
    unknown = Manifest(record().updated(open_bytes=None), 0)
    assert decode(unknown.encode()) == unknown


def test_an_earlier_entry_is_of_a_session_without_snapshots_that_keeps_no_text_and_whose_open_bytes_are_unknown() -> (
    None
):
    entry = decode(EARLIER)
    assert (entry.snapshots, entry.stretches, entry.record.keep_text) == ((), (), False)
    assert entry.marks == (
        CheckpointInfo(1, 4, 2, 1, 170, "c1", "a1", 170),
        CheckpointInfo(2, 9, 4, 2, 170, "c2", "a2", 170),
    )
    assert entry.record == SessionRecord(
        SessionKey("acme", "book"), 1.0, 3.0, "delta", "f00d", {"a": "b"}, 12, 9, 4, 2, 170, 2, None, "l", "c3", "c2",
        open_bytes=None,
    )  # fmt: skip
    assert entry.lineage_at(0) == entry.lineage_at(11) == "l"


def test_text_is_of_the_lineage_under_which_it_came() -> None:
    first = Manifest(record().updated(lineage="a", accepted_bytes=9), 0)
    second = Manifest(record().updated(lineage="b", accepted_bytes=9), 0, stretches=first.stretched(4, "b"))
    third = Manifest(record().updated(lineage="c"), 0, stretches=second.stretched(6, "c"))
    again = Manifest(record().updated(lineage="d"), 0, stretches=third.stretched(6, "d"))
    assert [again.lineage_at(offset) for offset in range(8)] == list("aaaabbdd")
    anew = Manifest(again.record, 0, stretches=again.stretched(0, "e"))
    assert (anew.lineage_at(0), anew.lineage_at(9)) == ("e", "e")
