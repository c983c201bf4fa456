"""SessionService: the use cases of sessions, each group in a service of its own, and whether new work is taken."""

from __future__ import annotations

from model.weights import LoadedModel
from server.engine.engine import Engine
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.sessions.answers import AnswerService
from server.sessions.deletion import DeletionService
from server.sessions.documents import DocumentService
from server.sessions.queries import QueryService
from server.sessions.receipts import Receipts
from server.sessions.registry import SessionRegistry
from server.sessions.snapshots import SnapshotService
from server.sessions.text_ranges import TextRangeService
from server.sessions.uploads import UploadService
from server.settings import Settings
from server.store.base import Store


class SessionService:
    """The use cases of all tenants' sessions."""

    def __init__(
        self,
        store: Store,
        readers: SessionReaders,
        engine: Engine,
        loaded: LoadedModel,
        settings: Settings,
        metrics: Metrics,
        receipts: Receipts,
    ) -> None:
        self._store = store
        self._readers = readers
        self._engine = engine
        self._settings = settings
        self.registry = SessionRegistry(store, readers, loaded, settings, metrics, receipts)
        self.uploads = UploadService(store, readers, self.registry, settings)
        self.documents = DocumentService(readers, self.registry, settings)
        self.snapshots = SnapshotService(store, readers, self.registry, engine, loaded)
        self.text_ranges = TextRangeService(store, self.registry, self.documents, self.snapshots, loaded)
        self.deletion = DeletionService(store, readers, self.registry, self.documents, self.snapshots, loaded)
        self.answers = AnswerService(engine, loaded, settings.answer_seconds, metrics)
        self.queries = QueryService(readers, self.registry, self.uploads, self.snapshots, self.answers, settings)

    @property
    def durability(self) -> str:
        """What acknowledged text survives."""
        return self._store.durability

    def overload(self, tenant: str) -> str | None:
        """Why no more work of a tenant is taken now, or None."""
        if not self._engine.has_room(tenant):
            return f"{self._engine.load().answers_waiting} questions are waiting"
        if not self._readers.backlog.has_room(tenant, self._settings.backlog_bytes):
            return f"{self._readers.backlog.unread_bytes} bytes of text are waiting to be read"
        return None
