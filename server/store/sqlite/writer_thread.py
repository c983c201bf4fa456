"""The one thread that owns the SQLite connection. Waiting operations are committed together (group commit)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

import apsw

from server.store import rules
from server.store.sqlite import folder as folders
from server.store.sqlite.errors import explained
from server.store.sqlite.schema import connect

Result = TypeVar("Result")
Operation = Callable[[apsw.Connection], Result]

GROUP_OPERATIONS_MAX = 256
# Trimming frees pages that the next appends take again, so some free pages are kept.
FREE_PAGES_KEPT = 256
SHRINK_PAGES = 64


class Undone(Exception):
    """The whole transaction was rolled back, and none of it was stored."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Promise(Future[Result]):
    """A future that cannot be cancelled: an operation that was queued runs even if its caller stops waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()


class Job(Generic[Result]):
    """An operation and the promise of its result."""

    def __init__(self, operation: Operation[Result], erases: bool) -> None:
        self.operation = operation
        self.erases = erases
        self.promise = Promise[Result]()

    def attempt(self, connection: apsw.Connection) -> Callable[[], None]:
        """Runs the operation in a savepoint; returns the function that resolves the promise after the commit.

        A failed operation rolls back only itself. `Undone` when SQLite rolled back the whole transaction.
        """
        connection.execute("SAVEPOINT attempt")
        try:
            result = self.operation(connection)
        except Exception as error:
            # SQLite ends the whole transaction itself where the disk is full or fails.
            if not connection.in_transaction:
                raise Undone(error) from error
            connection.execute("ROLLBACK TO attempt; RELEASE attempt")
            reason = error
            return lambda: self.fail(reason)
        connection.execute("RELEASE attempt")
        return lambda: self.promise.set_result(result)

    def fail(self, error: Exception) -> None:
        self.promise.set_exception(explained(error))


class WriterThread:
    """Runs operations in transactions and resolves their promises once they are durable."""

    def __init__(self, folder: Path) -> None:
        # Absolute, because the working directory may change while the store is open.
        self._folder = folder.absolute()
        self._connection: apsw.Connection | None = None
        self._waiting: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._lock = Lock()
        self._closing = False
        self._opened = Promise[None]()
        self._closed = Promise[None]()

    async def open(self) -> None:
        Thread(target=self._main, name="onceread-store", daemon=True).start()
        try:
            await asyncio.wrap_future(self._opened)
        except asyncio.CancelledError:
            self._end()
            raise

    async def run(self, operation: Operation[Result], erases: bool = False) -> Result:
        """The operation's result, once all that it wrote is durable.

        With `erases`, also what it deleted is then in none of the files any more.
        """
        job = Job(operation, erases)
        with self._lock:
            if self._closing:
                raise rules.closed()
            self._waiting.put(job)
        return await asyncio.wrap_future(job.promise)

    async def close(self) -> None:
        self._end()
        await asyncio.wrap_future(self._closed)

    def _end(self) -> None:
        with self._lock:
            if not self._closing:
                self._closing = True
                self._waiting.put(None)

    def _main(self) -> None:
        try:
            folders.make(self._folder)
            with folders.held(self._folder):
                self._connection = connect(self._folder)
                self._opened.set_result(None)
                try:
                    self._work()
                    if self._connection is not None:
                        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                finally:
                    self._disconnect()
        except Exception as error:
            self._end()
            (self._closed if self._opened.done() else self._opened).set_exception(explained(error))
            self._fail_waiting()
        else:
            self._closed.set_result(None)

    def _work(self) -> None:
        ended = False
        while not ended:
            group = self._take()
            ended = group[-1] is None
            self._serve([job for job in group if job is not None])
            while self._shrink() and self._waiting.empty():
                pass

    def _fail_waiting(self) -> None:
        """Fails the operations that still wait when this thread ends."""
        while not self._waiting.empty():
            job = self._waiting.get()
            if job is not None:
                job.fail(rules.closed())

    def _take(self) -> list[Job[Any] | None]:
        """All waiting operations, at least one. The end (None) comes last, because nothing is queued after it."""
        group = [self._waiting.get()]
        while len(group) < GROUP_OPERATIONS_MAX and not self._waiting.empty():
            group.append(self._waiting.get())
        return group

    def _serve(self, group: list[Job[Any]]) -> None:
        """Runs the group in one transaction, so with one fsync; no promise is resolved before the commit."""
        try:
            answers = self._transact(group)
            if any(job.erases for job in group):
                self._erase()
        except Undone as undone:
            if len(group) == 1:
                group[0].fail(undone.reason)
                return
            # Nothing was stored, so each is tried alone: reads still work when the disk is full.
            for job in group:
                self._serve([job])
        except Exception as error:
            # Whether the disk has the group is unknown, and so is what this connection would show.
            self._disconnect()
            for job in group:
                job.fail(error)
        else:
            for answer in answers:
                answer()

    def _transact(self, group: list[Job[Any]]) -> list[Callable[[], None]]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        answers = [job.attempt(connection) for job in group]
        try:
            connection.execute("COMMIT")
        except apsw.FullError as error:
            # SQLite rolls back a commit for which the disk has no space.
            raise Undone(error) from error
        return answers

    def _erase(self) -> None:
        """Removes from the files what is deleted: free pages, and the WAL."""
        connection = self._connected()
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = connect(self._folder)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Closing a connection after a failure may fail once more; the first error is the one that counts.
            with suppress(Exception):
                connection.close(force=True)

    def _shrink(self) -> bool:
        """Returns a few free pages to the disk; true while more than FREE_PAGES_KEPT may be left."""
        if self._connection is None:
            return False
        try:
            if self._connection.pragma("freelist_count") <= FREE_PAGES_KEPT:
                return False
            self._connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()
        except apsw.Error:
            # No caller waits for this. The next operation opens a new connection, and meets the error if it persists.
            self._disconnect()
            return False
        return True
