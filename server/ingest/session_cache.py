"""The sessions whose memory is at hand, the least recently used first to leave.

Pure: it counts bytes and uses, and knows neither what a memory is nor how one comes back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def resident_bytes(self) -> int: ...

    @property
    def busy(self) -> bool: ...


Key = TypeVar("Key")
Value = TypeVar("Value", bound=Sized)


class SessionCache(Generic[Key, Value]):
    """A map that forgets: `trim` drops what was used longest ago until the rest fits, but for what is busy."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __iter__(self) -> Iterator[Value]:
        return iter(list(self._values.values()))

    def __len__(self) -> int:
        return len(self._values)

    def use(self, key: Key) -> Value | None:
        """The value, which now counts as used last."""
        if (value := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)

    def drop(self, key: Key) -> Value | None:
        return self._values.pop(key, None)

    @property
    def held_bytes(self) -> int:
        return sum(value.resident_bytes for value in self._values.values())

    def trim(self) -> list[Key]:
        """Drops until what is held fits, and says whom."""
        held = self.held_bytes
        dropped = []
        for key, value in list(self._values.items()):
            if held <= self._bytes_max:
                break
            if not value.busy:
                held -= value.resident_bytes
                del self._values[key]
                dropped.append(key)
        return dropped
