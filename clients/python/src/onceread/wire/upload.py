"""Upload of a source into a session: piece by piece, after a failure from the durable offset, until it is read."""

from __future__ import annotations

from onceread import errors
from onceread.results import Progress
from onceread.wire import replies, requests
from onceread.wire.retries import Attempts, Retries, exchange
from onceread.wire.sessions import SessionHandle
from onceread.wire.steps import Emit, Flow, next_event, open_stream, send, take

# The server acknowledges text in pieces of this size, and recognizes a piece that is sent again.
DURABLE_BYTES = 256 * 1024
PIECE_BYTES = 1024 * 1024
# Small pieces get through a connection that breaks often.
PIECE_BYTES_MIN = 16 * 1024
# How often the upload asks for the number of tokens read.
REFRESH_BYTES = 8 * PIECE_BYTES


class Upload:
    """The upload of one source; `at` is the offset in the session's text of its first byte.

    Without `at` the source is appended at the end of the text. With it an interrupted upload is resumed: the last
    durable piece is sent again, so that the server detects another source. The text belongs to the `document` of this
    name, or without one to that of the text before it.
    """

    def __init__(
        self,
        handle: SessionHandle,
        at: int | None,
        total_bytes: int | None,
        retries: Retries,
        piece_bytes: int = PIECE_BYTES,
        document: str | None = None,
    ) -> None:
        self._handle = handle
        self._at_given = at
        self._total_bytes = total_bytes
        self._document = document
        self._piece_bytes = self._piece_bytes_max = piece_bytes
        self._attempts = Attempts(retries)
        # Offsets in the session's text: of the next piece; of the end of what is known to be the source's.
        self._at = self._position = self._confirmed = self._accepted = self._read = self._tokens = 0
        self._tokens_per_second = 0.0

    def flow(self, wait: bool) -> Flow[Progress]:
        """Sends the whole source and emits progress; with `wait` returns when all of it has been read."""
        yield from self._begin()
        while True:
            try:
                yield from self._send_all()
                if wait:
                    yield from self._wait_until_read()
                    yield from self._refresh()
                    yield Emit(self._progress())
                return self._progress()
            except errors.TextRolledBack as error:
                yield from self._go_back_to_survived(error)

    def _begin(self) -> Flow[None]:
        if self._at_given is None and self._handle.receipt is not None:
            # The end of the text is the right place only if nothing before it was lost: the receipt shows that.
            append = requests.empty_append(self._handle.id, self._handle.receipt)
            reply = yield from exchange(append, self._attempts)
            self._handle.update(reply)
            self._update(replies.json_object(reply))
        else:
            yield from self._refresh()
        self._at = self._accepted if self._at_given is None else self._at_given
        if self._accepted < self._at:
            raise errors.SourceMismatch(
                f"the session's text ends at offset {self._accepted}, before {self._at} where this source begins; "
                "send the text before it first"
            )
        known = self._accepted - self._at
        if self._total_bytes is not None and known > self._total_bytes:
            raise errors.SourceMismatch(
                f"after offset {self._at} the session has {known} bytes of text and the source only "
                f"{self._total_bytes}: this is another source, or more text was appended since"
            )
        self._position, self._confirmed = self._resume_offset(self._accepted), self._accepted
        yield Emit(self._progress())

    def _resume_offset(self, durable: int) -> int:
        """The offset to resume at when the text is durable up to `durable`: one durable piece before."""
        known = durable - self._at
        return durable - (known and (known % DURABLE_BYTES or DURABLE_BYTES))

    def _send_all(self) -> Flow[None]:
        refreshed_at = self._position
        while piece := (yield from take(self._position - self._at, self._piece_bytes)):
            yield from self._append(piece)
            if self._position - refreshed_at >= REFRESH_BYTES:
                yield from self._refresh()
                refreshed_at = self._position
            yield Emit(self._progress())

    def _append(self, piece: bytes) -> Flow[None]:
        """Sends the piece once, and moves the position to where the upload continues."""
        end = self._position + len(piece)
        try:
            append = requests.append(self._handle.id, self._position, piece, self._handle.receipt, self._document)
            reply = yield from send(append)
            if not reply.ok:
                raise replies.error_from(reply)
        except errors.OffsetMismatch as error:
            self._go_to_expected(error)
        except errors.OncereadError as error:
            yield from self._attempts.pause_after(error, repeatable=True)
            if not isinstance(error, errors.NotNow):
                self._piece_bytes = max(PIECE_BYTES_MIN, self._piece_bytes // 2)
            yield from self._refresh()
            if self._position < self._accepted <= end:
                # Its last durable piece is sent again, so that the server confirms that it is this source's.
                self._position += (self._accepted - self._position - 1) // DURABLE_BYTES * DURABLE_BYTES
        else:
            self._handle.update(reply)
            self._update(replies.json_object(reply))
            self._position, self._confirmed = end, max(self._confirmed, end)
            self._piece_bytes = min(self._piece_bytes_max, self._piece_bytes * 2)

    def _go_to_expected(self, error: errors.OffsetMismatch) -> None:
        """Moves to the offset that the server expects, if all text before it is known to be the source's."""
        expected = error.expected_offset
        if expected is None or expected < self._at or expected > self._confirmed:
            raise error
        self._attempts.count(error)
        self._position = expected

    def _wait_until_read(self) -> Flow[None]:
        """Returns when the server has read all that was sent."""
        end, done = self._position, False
        while not done and self._read < end:
            try:
                yield from self._stream_progress(end)
                done = True
            except errors.TextRolledBack:
                raise
            except errors.OncereadError as error:
                yield from self._attempts.pause_after(error, repeatable=True)
                yield from self._refresh()
                yield Emit(self._progress())

    def _stream_progress(self, end: int) -> Flow[None]:
        reply = yield from open_stream(requests.follow_reading(self._handle.id, end, self._handle.receipt))
        if not reply.ok:
            raise replies.error_from(reply)
        self._handle.update(reply)
        while event := (yield from next_event()):
            if event.name == "error":
                raise replies.event_error(event)
            self._update(replies.event_object(event))
            yield Emit(self._progress())
            if event.name == "done":
                return
        raise errors.ConnectionFailed("the stream of progress broke off")

    def _refresh(self) -> Flow[None]:
        """Gets how far the text is durable and read. Sends no receipt: lost text is for the next append to find."""
        reply = yield from exchange(requests.get(self._handle.id), self._attempts)
        self._update(replies.json_object(reply).get("text", {}))

    def _update(self, counts: dict[str, object]) -> None:
        """Takes the server's counts; progress resets the count of failures."""
        before = self._accepted, self._read
        self._accepted = int(str(counts.get("accepted_bytes", self._accepted)))
        self._read = int(str(counts.get("read_bytes", self._read)))
        self._tokens = int(str(counts.get("tokens", self._tokens)))
        self._tokens_per_second = float(str(counts.get("tokens_per_second", self._tokens_per_second)))
        if self._accepted > before[0] or self._read > before[1]:
            self._attempts.progressed()

    def _go_back_to_survived(self, error: errors.TextRolledBack) -> Flow[None]:
        """Moves to the end of the surviving text, if the source can be read again from there."""
        survived = error.expected_offset
        if survived is None or survived < self._at:
            raise error
        self._attempts.count(error)
        position = self._resume_offset(survived)
        try:
            yield from take(position - self._at, 1)
        except errors.SourceNotRereadable:
            raise error from None
        self._handle.receipt = None
        self._position, self._confirmed = position, survived
        self._accepted, self._read = survived, min(self._read, survived)

    def _progress(self) -> Progress:
        return Progress(
            sent_bytes=self._position - self._at,
            accepted_bytes=max(0, self._accepted - self._at),
            read_bytes=max(0, self._read - self._at),
            total_bytes=self._total_bytes,
            tokens=self._tokens,
            tokens_per_second=self._tokens_per_second,
        )
