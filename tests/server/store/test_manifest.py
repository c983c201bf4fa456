"""Manifests decode to what was encoded, those of earlier versions too, and the stored format has not changed."""

import json
from dataclasses import replace

from server.store.base import CheckpointInfo, Mark, SessionKey, SessionRecord
from server.store.manifest import KeptCheckpoint, LineageSpan, Manifest, SnapshotInfo, decode
from tests.server.store.samples import read, record

EARLIER = b"""{"journal_offset":4,"marks":[[1,4,2,1,170,"c1","a1",170],[2,9,4,2,170,"c2","a2",170]],"record":
{"accepted_bytes":12,"chain":"c3","created_at":1.0,"expires_at":null,"fingerprint":"f00d","key":["acme","book"],
"lineage":"l","memory_bytes":170,"metadata":{"a":"b"},"model":"delta","quarantined":null,"read_bytes":9,
"read_chain":"c2","segments":2,"tokens":4,"ttl_seconds":null,"updated_at":3.0,"version":2}}"""


def test_a_manifest_decodes_to_what_was_encoded() -> None:
    kept = KeptCheckpoint(read(b"text", 3).info, "attempt", len(read(b"text", 3).value))
    snapshot = SnapshotInfo.of(replace(record(), lineage="old"), "name", 2.0, kept)
    manifest = Manifest(
        replace(
            record(),
            keep_text=True,
            open_bytes="第".encode()[:2],
            marks=(Mark(1, "Ærø/第一章"), Mark(2, "")),
            marks_trimmed=3,
        ),
        5,
        (kept, kept),
        (snapshot, snapshot),
        (LineageSpan(0, "a"), LineageSpan(5, "b")),
    )
    assert decode(manifest.encode()) == manifest
    assert decode(Manifest(record(), 0).encode()) == Manifest(record(), 0)
    unknown = Manifest(replace(record(), open_bytes=None), 0)
    assert decode(unknown.encode()) == unknown


def test_the_first_versions_manifest_has_no_snapshots_no_kept_text_no_documents_and_unknown_open_bytes() -> None:
    manifest = decode(EARLIER)
    assert (manifest.snapshots, manifest.spans, manifest.record.keep_text) == ((), (), False)
    assert manifest.checkpoints == (
        KeptCheckpoint(CheckpointInfo(1, 4, 2, 1, 170, "c1"), "a1", 170),
        KeptCheckpoint(CheckpointInfo(2, 9, 4, 2, 170, "c2"), "a2", 170),
    )
    assert manifest.record == SessionRecord(
        SessionKey("acme", "book"), 1.0, 3.0, "delta", "f00d", {"a": "b"}, 12,
        CheckpointInfo(2, 9, 4, 2, 170, "c2"), None, "l", "c3", open_bytes=None,
    )  # fmt: skip
    assert manifest.lineage_at(0) == manifest.lineage_at(11) == "l"


def test_text_belongs_to_the_lineage_under_which_it_was_appended() -> None:
    first = Manifest(replace(record(), lineage="a", accepted_bytes=9), 0)
    second = Manifest(replace(record(), lineage="b", accepted_bytes=9), 0, spans=first.spans_from(4, "b"))
    third = Manifest(replace(record(), lineage="c"), 0, spans=second.spans_from(6, "c"))
    again = Manifest(replace(record(), lineage="d"), 0, spans=third.spans_from(6, "d"))
    assert [again.lineage_at(offset) for offset in range(8)] == list("aaaabbdd")
    restarted = Manifest(again.record, 0, spans=again.spans_from(0, "e"))
    assert (restarted.lineage_at(0), restarted.lineage_at(9)) == ("e", "e")


def test_the_stored_format_only_adds_fields_to_the_first_version() -> None:
    before, after = json.loads(EARLIER), json.loads(decode(EARLIER).encode())
    later: dict[str, object] = {"keep_text": False, "open_bytes": None, "marks": [], "marks_trimmed": 0}
    parts: dict[str, object] = {"borrowed": [], "lent": [], "parts_bytes": 0}
    assert after == before | {"record": before["record"] | later, "snapshots": [], "stretches": []} | parts
