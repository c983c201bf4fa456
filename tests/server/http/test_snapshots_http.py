"""Forks, snapshots, restoring, memories as files, kept texts: each against reading the same text anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model import weights
from model.checkpoint import checksum
from testing.models import prose, random_model, tiny_config
from testing.redis_servers import RedisServer
from testing.replies import appended, asked, created, events, problem, shown
from testing.serving import Server, client

TEXT, MORE, OTHER = (prose(seed, 900).encode() for seed in (71, 72, 73))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def server(
    request: pytest.FixtureRequest,
    tiny_weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("copies")
    store = f"sqlite:///{folder}/data" if request.param == "sqlite" else redis_server.url
    # Short texts have checkpoints too.
    settings = {"seal_keys_file": str(folder / "seal.keys"), "checkpoint_segments": "32"}
    with Server(tiny_weights, store, **settings) as server:
        yield server


def read_anew(http: httpx.Client, *parts: bytes) -> str:
    """A session that was never anything else."""
    session = created(http)
    appended(http, session, b"".join(parts))
    return session


def memory_of(http: httpx.Client, session: str) -> dict[str, torch.Tensor]:
    reply = http.get(f"/v1/sessions/{session}/memory")
    assert reply.status_code == 200, reply.text
    return load_tensors(reply.content)


def must_be_alike(http: httpx.Client, one: str, other: str) -> None:
    """The same memory, tail and answer, bit for bit."""
    mine, theirs = memory_of(http, one), memory_of(http, other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert asked(http, one)["answer"] == asked(http, other)["answer"]


def forked(http: httpx.Client, source: str, **body: object) -> dict[str, object]:
    reply = http.post("/v1/sessions", json={"from": {"session": source} | body})
    assert reply.status_code == 201, reply.text
    assert reply.headers["Location"] == f"/v1/sessions/{reply.json()['id']}"
    return dict(reply.json())


def snapshotted(http: httpx.Client, session: str, name: str) -> dict[str, object]:
    reply = http.post(f"/v1/sessions/{session}/snapshots", json={"name": name})
    assert reply.status_code == 201, reply.text
    assert reply.headers["Location"] == f"/v1/sessions/{session}/snapshots/{name}"
    return dict(reply.json())


def test_a_fork_starts_with_the_same_memory_and_is_independent(http: httpx.Client) -> None:
    source = created(http, metadata={"title": "Emma"})
    appended(http, source, TEXT)
    fork = forked(http, source)
    assert fork["metadata"] == {"title": "Emma"}
    assert fork["text"] == shown(http, source)["text"]
    copy = str(fork["id"])
    must_be_alike(http, source, copy)
    appended(http, copy, MORE)
    must_be_alike(http, copy, read_anew(http, TEXT, MORE))
    must_be_alike(http, source, read_anew(http, TEXT))


def test_a_fork_includes_text_acknowledged_just_before(http: httpx.Client) -> None:
    source = created(http)
    http.post(f"/v1/sessions/{source}/text", content=TEXT)
    fork = forked(http, source)
    assert fork["text"]["read_bytes"] == len(TEXT)  # type: ignore[index]
    must_be_alike(http, str(fork["id"]), read_anew(http, TEXT))


def test_a_fork_inside_a_character_continues_inside_it(http: httpx.Client) -> None:
    whole = "naïve — 日本語 🙂 ".encode() * 9
    cut = len(whole) // 2
    while whole[cut] & 0xC0 != 0x80:
        cut += 1
    source = created(http)
    appended(http, source, whole[:cut])
    copy = str(forked(http, source)["id"])
    appended(http, copy, whole[cut:])
    must_be_alike(http, copy, read_anew(http, whole))


def test_a_fork_can_have_its_own_id_and_metadata(http: httpx.Client) -> None:
    source = read_anew(http, TEXT)
    body = {"id": f"{source}_2", "metadata": {"a": "b"}, "from": {"session": source}}
    reply = http.post("/v1/sessions", json=body)
    assert (reply.json()["id"], reply.json()["metadata"]) == (f"{source}_2", {"a": "b"})
    problem(http.post("/v1/sessions", json=body), 409, "session_exists")
    problem(http.post("/v1/sessions", json={"from": {"session": "never"}}), 404, "session_not_found", "id")
    nothing = {"from": {"session": source, "snapshot": "never"}}
    problem(http.post("/v1/sessions", json=nothing), 404, "snapshot_not_found", "name")
    kept = {"from": {"session": source}, "keep_text": True}
    assert "keep_text" in problem(http.post("/v1/sessions", json=kept), 422, "invalid_field", "body")["detail"]


def test_a_snapshot_does_not_change_with_its_session(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    taken = snapshotted(http, session, "chapter-3")
    assert (taken["name"], taken["offset"], taken["session"]) == ("chapter-3", len(TEXT), session)
    before = asked(http, session)["answer"]
    appended(http, session, MORE)
    second = snapshotted(http, session, "chapter-4")
    listed = http.get(f"/v1/sessions/{session}/snapshots").json()["data"]
    assert listed == [second, taken]
    assert http.get(f"/v1/sessions/{session}/snapshots/chapter-3").json() == taken
    answer = asked(http, session, snapshot="chapter-3")
    assert (answer["answer"], answer["memory"]["offset"]) == (before, len(TEXT))
    must_be_alike(http, str(forked(http, session, snapshot="chapter-3")["id"]), read_anew(http, TEXT))
    must_be_alike(http, session, read_anew(http, TEXT, MORE))


def test_a_snapshot_name_is_unique_in_its_session(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    snapshotted(http, session, "a")
    problem(http.post(f"/v1/sessions/{session}/snapshots", json={"name": "a"}), 409, "snapshot_exists")
    problem(http.post(f"/v1/sessions/{session}/snapshots", json={"name": "a b"}), 422, "invalid_field", "name")
    assert http.delete(f"/v1/sessions/{session}/snapshots/a").status_code == 204
    for reply in (
        http.delete(f"/v1/sessions/{session}/snapshots/a"),
        http.get(f"/v1/sessions/{session}/snapshots/a"),
        http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "a"}),
        http.post(f"/v1/sessions/{session}/queries", json={"question": "?", "snapshot": "a"}),
    ):
        problem(reply, 404, "snapshot_not_found", "name")
    snapshotted(http, session, "a")


@pytest.mark.parametrize("keep_text", [False, True])
def test_restore_discards_later_text_and_memory(http: httpx.Client, keep_text: bool) -> None:
    session = created(http, keep_text=keep_text)
    appended(http, session, TEXT)
    version = snapshotted(http, session, "before")["memory"]["version"]  # type: ignore[index]
    receipt = http.post(f"/v1/sessions/{session}/text", content=MORE).headers["Onceread-Receipt"]
    reply = http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "before"})
    assert reply.status_code == 200, reply.text
    assert reply.json()["text"]["accepted_bytes"] == len(TEXT)
    assert reply.json()["memory"]["version"] > version
    lost = http.head(f"/v1/sessions/{session}/text", headers={"Onceread-Receipt": receipt})
    assert lost.status_code == 409
    must_be_alike(http, session, read_anew(http, TEXT))
    appended(http, session, OTHER)
    must_be_alike(http, session, read_anew(http, TEXT, OTHER))
    assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "before"}).status_code == 200
    must_be_alike(http, session, read_anew(http, TEXT))


def test_a_receipt_of_text_discarded_by_a_restore_is_answered_with_the_offset(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    snapshotted(http, session, "before")
    receipt = http.post(f"/v1/sessions/{session}/text", content=MORE).headers["Onceread-Receipt"]
    http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "before"})
    reply = http.post(f"/v1/sessions/{session}/text", content=b"x", headers={"Onceread-Receipt": receipt})
    assert problem(reply, 409, "text_rolled_back")["expected_offset"] == len(TEXT)


def test_an_exported_memory_is_a_safetensors_file(http: httpx.Client, tmp_path: Path) -> None:
    session = read_anew(http, TEXT)
    reply = http.get(f"/v1/sessions/{session}/memory")
    file = tmp_path / "memory.safetensors"
    file.write_bytes(reply.content)
    with safe_open(file, framework="pt") as opened:
        names, metadata = set(opened.keys()), opened.metadata()
    assert {"tail", "pending"} < names
    assert metadata["offset"] == reply.headers["Onceread-Offset"] == str(len(TEXT))
    assert metadata["fingerprint"] == reply.headers["Onceread-Fingerprint"] == shown(http, session)["fingerprint"]


def test_an_exported_memory_can_be_imported(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    file = http.get(f"/v1/sessions/{session}/memory").content
    reply = http.put(f"/v1/sessions/{session}_in/memory", content=file)
    assert reply.status_code == 201, reply.text
    assert reply.headers["Location"] == f"/v1/sessions/{session}_in"
    assert reply.json()["text"] == shown(http, session)["text"]
    must_be_alike(http, session, f"{session}_in")
    appended(http, f"{session}_in", MORE)
    must_be_alike(http, f"{session}_in", read_anew(http, TEXT, MORE))
    problem(http.put(f"/v1/sessions/{session}/memory", content=file), 409, "session_exists")


def test_importing_a_memory_of_other_weights_names_both_fingerprints(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    file = http.get(f"/v1/sessions/{session}/memory").content
    length = int.from_bytes(file[:8], "little")
    other = file[:8] + file[8 : 8 + length].replace(shown(http, session)["fingerprint"].encode(), b"0" * 64)
    reply = http.put(f"/v1/sessions/{session}_in/memory", content=other + file[8 + length :])
    # The checksum covers the name of the weights: who changed it did not change the checksum.
    problem(reply, 400, "invalid_request")
    problem(http.get(f"/v1/sessions/{session}_in"), 404, "session_not_found", "id")


def test_every_damaged_file_is_refused_at_import(http: httpx.Client) -> None:
    session = read_anew(http, TEXT)
    file = http.get(f"/v1/sessions/{session}/memory").content

    @given(
        st.one_of(
            st.binary(max_size=200),
            st.builds(lambda end: file[:end], st.integers(0, len(file) - 1)),
            st.builds(
                lambda at, bit: file[:at] + bytes([file[at] ^ 1 << bit]) + file[at + 1 :],
                st.integers(0, len(file) - 1),
                st.integers(0, 7),
            ),
            st.builds(lambda at, put: file[:at] + put + file[at:], st.integers(0, len(file)), st.binary(min_size=1)),
        )
    )
    def refused(damaged: bytes) -> None:
        if damaged == file:
            return
        reply = http.put(f"/v1/sessions/{session}_in/memory", content=damaged)
        assert 400 <= reply.status_code < 500, reply.text
        problem(http.get(f"/v1/sessions/{session}_in"), 404, "session_not_found", "id")

    refused()


def test_a_file_with_a_valid_checksum_and_invalid_content_is_refused(http: httpx.Client) -> None:
    """Somebody who makes a file by hand, checksum and all, is held against what reading can come to."""
    session = read_anew(http, TEXT)
    file = http.get(f"/v1/sessions/{session}/memory").content
    length = int.from_bytes(file[:8], "little")
    metadata = json.loads(file[8 : 8 + length])["__metadata__"]
    metadata.pop("checksum")
    tensors = load_tensors(file)

    def put(changed: dict[str, torch.Tensor], **counts: str) -> httpx.Response:
        meta = metadata | counts
        made = save_tensors(tensors | changed, {**meta, "checksum": checksum(meta, tensors | changed)})
        return http.put(f"/v1/sessions/{session}_in/memory", content=made)

    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    for reply in (
        put({"tail": torch.tensor([10_000])}),
        put({"tail": torch.tensor([-1])}),
        put({"tail": torch.tensor([0.5])}),
        put({"tail": torch.zeros(8, dtype=torch.int64)}),
        put({"pending": torch.tensor([255], dtype=torch.uint8)}),
        put({name: torch.full_like(tensors[name], torch.nan)}),
        put({name: torch.full_like(tensors[name], 3e38)}),
        put({name: tensors[name][..., :1].contiguous()}),
        put({"memory.context": torch.full_like(tensors["memory.context"], 10**9)}),
        put({}, offset="-1"),
        put({}, offset="9" * 30),
        put({}, offset="1"),
        put({}, tokens="7"),
        put({}, segments="x"),
    ):
        problem(reply, 400, "invalid_request")
    problem(put({}, fingerprint="0" * 64), 409, "fingerprint_mismatch")
    assert put({}).status_code == 201


def test_a_file_larger_than_any_memory_is_refused(http: httpx.Client) -> None:
    problem(http.put("/v1/sessions/large/memory", content=b"x" * (12 << 20)), 413, "body_too_large")


def test_rebuild_reads_a_kept_text_again(http: httpx.Client) -> None:
    session = created(http, keep_text=True)
    appended(http, session, TEXT)
    appended(http, session, MORE)
    reply = http.post(f"/v1/sessions/{session}/rebuild")
    assert reply.status_code == 200, reply.text
    assert reply.json()["text"]["accepted_bytes"] == len(TEXT + MORE)
    # Read to its end before another is: two that are read together agree within a tolerance only.
    appended(http, session, b"")
    must_be_alike(http, session, read_anew(http, TEXT, MORE))
    with http.stream(
        "POST", f"/v1/sessions/{session}/text", content=OTHER, headers={"Accept": "text/event-stream"}
    ) as stream:
        assert [name for name, _ in events(stream.iter_lines())][-1] == "done"
    must_be_alike(http, session, read_anew(http, TEXT, MORE, OTHER))


def test_rebuild_without_a_kept_text_is_refused(http: httpx.Client) -> None:
    problem(http.post(f"/v1/sessions/{read_anew(http, TEXT)}/rebuild"), 400, "invalid_request")


def test_rebuild_reads_a_kept_text_with_other_weights(tiny_weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    loaded = weights.load(tiny_weights)
    weights.save(other, random_model(tiny_config(), seed=5), loaded.tokenizer, torch.float32)
    store = f"sqlite:///{tmp_path}/data"
    with Server(tiny_weights, store) as first, client(first) as http:
        session = created(http, keep_text=True)
        appended(http, session, TEXT)
        snapshotted(http, session, "old")
        assert first.terminate() == 0
    with Server(other, store) as second, client(second) as http:
        problem(http.post(f"/v1/sessions/{session}/queries", json={"question": "?"}), 409, "fingerprint_mismatch")
        assert http.post(f"/v1/sessions/{session}/rebuild").json()["model"] == "other"
        appended(http, session, b"")
        must_be_alike(http, session, read_anew(http, TEXT))
        restore = http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "old"})
        problem(restore, 409, "fingerprint_mismatch")
