"""What a change of memories means for parts, loans and bytes, against plain loops over all parts that are named."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.store import sharing
from server.store.manifest import Manifest, decode
from server.store.parts import Pool, Root, StoredPart
from tests.server.store.samples import SamplePart, in_parts, read, record

OWN, OTHER, THIRD = Pool("book", "1"), Pool("other", "1"), Pool("third", "1")
CONTENTS = [b"a", b"bb", b"ccc"]

parts = st.builds(
    lambda value, pool: StoredPart(SamplePart(value).digest, len(value), pool),
    st.sampled_from(CONTENTS),
    st.sampled_from([OWN, OTHER, THIRD]),
)
roots = st.lists(parts, max_size=4).map(lambda found: Root(b"head", tuple(found)))
some_roots = st.lists(roots, max_size=3)


def manifest() -> Manifest:
    return Manifest(replace(record(), lineage="1.a"), 0, borrowed=(OTHER, THIRD))


def own(found: Iterable[Root]) -> dict[bytes, int]:
    """Digest and size of each part of the own pool."""
    return {part.digest: part.size for root in found for part in root.parts if part.pool == OWN}


@given(some_roots, some_roots, some_roots)
def test_what_nothing_names_any_more_is_freed_and_the_rest_is_counted_once(
    before: list[Root], memories: list[Root], lent: list[Root]
) -> None:
    found = sharing.settled(manifest(), [*before, *memories, *lent], memories, lent)
    left = own([*memories, *lent])
    assert sorted(part.digest for part in found.freed) == sorted(own(before).keys() - left.keys())
    assert found.manifest.parts_bytes == sum(left.values())


@given(some_roots, some_roots)
def test_a_pool_is_borrowed_as_long_as_a_memory_names_it(before: list[Root], memories: list[Root]) -> None:
    found = sharing.settled(manifest(), before, memories, ())
    needed = {part.pool for root in memories for part in root.parts}
    assert found.manifest.borrowed == tuple(pool for pool in (OTHER, THIRD) if pool in needed)
    assert {*found.manifest.borrowed, *found.returned} == {OTHER, THIRD}


@given(some_roots, some_roots, some_roots)
def test_nothing_is_freed_while_a_loan_is_damaged(before: list[Root], memories: list[Root], lent: list[Root]) -> None:
    found = sharing.settled(manifest(), before, memories, [*lent, None])
    assert found.freed == ()
    assert found.manifest.parts_bytes == sum(own([*before, *memories, *lent]).values())


@given(st.lists(st.sampled_from(CONTENTS), max_size=4), some_roots)
def test_a_memory_is_stored_with_the_parts_that_no_known_root_names(values: list[bytes], known: list[Root]) -> None:
    found = sharing.stored(in_parts(read(b"text", 1), *values), OWN, known)
    digests = {part.digest for root in known for part in root.parts}
    assert {part.digest for part in found.new} == {SamplePart(value).digest for value in values} - digests
    assert found.kept.root(found.value) == found.root
    assert (found.kept.value_bytes, found.kept.parts) == (len(found.value), len(values))


@given(roots)
def test_each_other_pool_lends_its_parts_of_a_forks_first_memory(root: Root) -> None:
    lenders = sharing.borrowed(root, OWN)
    assert set(lenders) == {part.pool for part in root.parts} - {OWN}
    for pool in lenders:
        lent = sharing.lent(root, pool)
        assert {*lent.parts} == {part for part in root.parts if part.pool == pool}
        loan = sharing.loan(OWN, 2.0, lent)
        assert loan.kept.root(lent.encode()) == lent


def test_a_lender_has_the_pool_and_the_loans_of_its_session_and_nothing_else() -> None:
    root = sharing.lent(Root(b"head", (StoredPart(SamplePart(b"a").digest, 1, OWN),)), OWN)
    loans = [sharing.loan(borrower, 2.0, root) for borrower in (OTHER, THIRD)]
    lender = sharing.settled(sharing.lender("acme", OWN, loans), [root], [], [root, root]).manifest
    assert (lender.pool, lender.record.key.tenant, lender.record.metadata) == (OWN, "acme", {})
    assert (lender.stored_bytes, lender.parts_bytes) == (1, 1)
    assert decode(lender.encode()) == lender
    left = sharing.without_loan(lender, OTHER)
    assert left.lent == (loans[1],)
    last = sharing.settled(sharing.without_loan(left, THIRD), [root], [], [])
    assert ([part.digest for part in last.freed], last.manifest.parts_bytes) == ([SamplePart(b"a").digest], 0)


def test_a_session_may_load_parts_of_its_own_pool_and_of_those_it_borrows_from() -> None:
    assert all(sharing.may_load(manifest(), pool) for pool in (OWN, OTHER, THIRD))
    assert not sharing.may_load(manifest(), Pool("book", "2"))
