"""The errors of a store, as a tree. Each message says what happened and what to do."""


class StoreError(Exception):
    """Any refusal or failure of a store.

    StoreError
     ├── SessionMissing      no such session of this tenant
     ├── SessionExpired      the session has expired
     ├── SessionTaken        a session of this name exists
     ├── SnapshotMissing     no such snapshot of this session
     ├── SnapshotTaken       a snapshot of this name exists
     ├── TooManySnapshots    the session has SNAPSHOTS_MAX already
     ├── TooManyDocuments    the text has begun or gone on with DOCUMENTS_MAX documents already; carries accepted_bytes
     ├── CharacterCut        a document would begin inside a character; carries accepted_bytes
     ├── OffsetMismatch      the text does not end where the append starts; carries accepted_bytes
     ├── ContentConflict     other bytes lie at that offset; carries accepted_bytes
     ├── StaleCheckpoint     version, offset, text or lease do not match what is stored
     ├── LeaseHeld           another replica reads the session; carries holder
     ├── LeaseLost           the lease has run out and another replica may have taken it
     ├── DamagedValue        a checksum does not match; carries what
     ├── StoreFull           no space for what was sent; nothing was stored
     └── StoreUnavailable    the store cannot be reached or used now
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


class TooManyDocuments(StoreError):
    def __init__(self, documents_max: int, accepted_bytes: int) -> None:
        super().__init__(
            f"documents were begun or gone on with {documents_max} times in this session, the maximum: send the text "
            "to another session"
        )
        self.accepted_bytes = accepted_bytes


class CharacterCut(StoreError):
    def __init__(self, accepted_bytes: int) -> None:
        super().__init__(
            f"the text ends inside a character at offset {accepted_bytes}, where no document can begin: send the rest "
            "of that character first, without naming a document"
        )
        self.accepted_bytes = accepted_bytes


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
