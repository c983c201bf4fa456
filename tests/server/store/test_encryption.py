"""A sealed value opens only unchanged, and only in the place for which it was sealed."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.store.base import DamagedValue, SessionKey
from server.store.encryption import SEALED_BYTES_MORE, Sealer
from server.store.keyring import KEY_ID_BYTES, Keyring

OLD, NEW = b"o" * 32, b"n" * 32
BEFORE, AFTER = Keyring([OLD]), Keyring([NEW, OLD])
SEALER = Sealer(BEFORE)
ROTATED = Sealer(AFTER)

names = st.text(max_size=8)
numbers = st.integers(0, 1 << 40)


@dataclass(frozen=True)
class Place:
    """Everything that a seal authenticates beside the value."""

    kind: str
    key: SessionKey
    place: tuple[object, ...]

    @property
    def arguments(self) -> tuple[str, SessionKey, tuple[object, ...]]:
        return self.kind, self.key, self.place


places: st.SearchStrategy[Any] = st.builds(
    Place,
    st.sampled_from(("record", "piece", "memory", "line")),
    st.builds(SessionKey, names, names),
    st.lists(names | numbers, max_size=4).map(tuple),
)


@given(places, st.binary(max_size=200))
def test_a_sealed_value_opens(place: Place, value: bytes) -> None:
    sealed = SEALER.seal(*place.arguments, value)
    assert SEALER.open(*place.arguments, sealed) == value
    assert len(sealed) == len(value) + SEALED_BYTES_MORE
    assert SEALER.seal(*place.arguments, value) != sealed


@given(places, st.binary(max_size=60), st.data())
def test_a_value_with_a_flipped_bit_does_not_open(place: Place, value: bytes, data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(*place.arguments, value))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedValue):
        SEALER.open(*place.arguments, bytes(sealed))


@given(places, st.binary(max_size=60), st.integers(0, 59 + SEALED_BYTES_MORE), st.binary(min_size=1, max_size=9))
def test_a_cut_or_lengthened_value_does_not_open(place: Place, value: bytes, length: int, more: bytes) -> None:
    sealed = SEALER.seal(*place.arguments, value)
    for other in (sealed[: length % len(sealed)], sealed + more, more + sealed):
        with pytest.raises(DamagedValue):
            SEALER.open(*place.arguments, other)


@given(places, places, st.binary(max_size=60))
def test_a_value_does_not_open_in_another_place(place: Place, other: Place, value: bytes) -> None:
    assume(place != other)
    with pytest.raises(DamagedValue):
        SEALER.open(*other.arguments, SEALER.seal(*place.arguments, value))


@given(places, st.binary(max_size=60))
def test_bytes_cannot_move_between_the_parts_of_a_place(place: Place, value: bytes) -> None:
    kind, (tenant, id), rest = place.arguments
    sealed = SEALER.seal(kind, SessionKey(tenant + "x", id), rest, value)
    for key, other in ((SessionKey(tenant, "x" + id), rest), (SessionKey(tenant, "x"), (id, *rest))):
        with pytest.raises(DamagedValue):
            SEALER.open(kind, key, other, sealed)


@pytest.mark.parametrize("found", [None, "text", 7, b"", b"OR1", bytearray(b"OR1" + bytes(40))])
def test_anything_but_a_sealed_value_is_damaged(found: object) -> None:
    with pytest.raises(DamagedValue, match="record"):
        SEALER.open("record", SessionKey("acme", "book"), (), found)


@given(places, st.binary(max_size=60))
def test_after_a_rotation_old_values_open_and_new_ones_use_the_new_key(place: Place, value: bytes) -> None:
    assert ROTATED.open(*place.arguments, SEALER.seal(*place.arguments, value)) == value
    sealed = ROTATED.seal(*place.arguments, value)
    assert sealed[3 : 3 + KEY_ID_BYTES] == AFTER.current != BEFORE.current
    assert ROTATED.open(*place.arguments, sealed) == value


@given(places, st.binary(max_size=60))
def test_the_error_for_an_unknown_key_names_it(place: Place, value: bytes) -> None:
    with pytest.raises(DamagedValue, match=f"its key {AFTER.current.hex()} is not in the keys file"):
        SEALER.open(*place.arguments, ROTATED.seal(*place.arguments, value))


@given(places, st.binary(max_size=60))
def test_a_value_with_another_keys_id_does_not_open(place: Place, value: bytes) -> None:
    sealed = ROTATED.seal(*place.arguments, value)
    with pytest.raises(DamagedValue):
        ROTATED.open(*place.arguments, sealed[:3] + BEFORE.current + sealed[3 + KEY_ID_BYTES :])


@given(places, places, st.binary(max_size=60), st.binary(max_size=60))
def test_a_digest_survives_a_rotation_and_differs_by_value_and_place(
    place: Place, other: Place, value: bytes, another: bytes
) -> None:
    digest = SEALER.digest(*place.arguments, value)
    assert ROTATED.digest(*place.arguments, value) == digest
    assert (SEALER.digest(*other.arguments, another) == digest) == ((place, value) == (other, another))


def test_a_digest_cannot_be_computed_without_the_key() -> None:
    place = ("piece", SessionKey("acme", "book"), (0,))
    assert Sealer(Keyring([NEW])).digest(*place, b"text") != SEALER.digest(*place, b"text")
