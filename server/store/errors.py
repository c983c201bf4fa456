"""What a store may refuse or fail with, as a tree; each error says what happened and what to do.

It knows no store, and nothing of what was asked of it.
"""


class StoreError(Exception):
    """Any refusal or failure of a store.

    StoreError
     ├── SessionMissing      no such session of this tenant
     ├── SessionExpired      there was one, and its time was over
     ├── SessionTaken        a session of this name exists
     ├── SnapshotMissing     no such snapshot of this session
     ├── SnapshotTaken       a snapshot of this name exists
     ├── TooManySnapshots    the session has SNAPSHOTS_MAX already
     ├── OffsetMismatch      the text does not end where the append starts; carries accepted_bytes
     ├── ContentConflict     other bytes lie at that offset; carries accepted_bytes
     ├── StaleCheckpoint     version, offset, text or lease do not follow from what is stored
     ├── LeaseHeld           another replica reads the session; carries holder
     ├── LeaseLost           the lease has run out and somebody else may have taken it
     ├── DamagedValue        a checksum does not match; carries what
     ├── StoreFull           no room to keep what was sent; nothing was kept
     └── StoreUnavailable    the store can not be reached or used now
    """


class SessionMissing(StoreError):
    pass


class SessionExpired(StoreError):
    pass


class SessionTaken(StoreError):
    pass


class SnapshotMissing(StoreError):
    pass


class SnapshotTaken(StoreError):
    pass


class TooManySnapshots(StoreError):
    pass


class StaleCheckpoint(StoreError):
    pass


class LeaseHeld(StoreError):
    def __init__(self, holder: str) -> None:
        super().__init__(f"the session is read by {holder}")
        self.holder = holder


class LeaseLost(StoreError):
    pass


class StoreFull(StoreError):
    pass


class StoreUnavailable(StoreError):
    pass


class DamagedValue(StoreError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} does not match its checksum")
        self.what = what


class OffsetMismatch(StoreError):
    def __init__(self, accepted_bytes: int) -> None:
        super().__init__(f"the text ends at offset {accepted_bytes}")
        self.accepted_bytes = accepted_bytes


class ContentConflict(StoreError):
    def __init__(self, accepted_bytes: int) -> None:
        super().__init__("other bytes are stored at this offset")
        self.accepted_bytes = accepted_bytes
