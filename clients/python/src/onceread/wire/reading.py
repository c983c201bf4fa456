"""Reading a source into a session: sent piece by piece, from the durable offset after every break, until it is read.

Pure: it decides what is sent from where. It knows neither what kind of source it is nor how long anything takes.
"""

from __future__ import annotations

from onceread import errors
from onceread.results import Progress
from onceread.wire import replies, requests
from onceread.wire.handle import Handle
from onceread.wire.retrying import Attempts, Retries, exchanged
from onceread.wire.steps import Flow, Tell, next_event, opened, sent, taken

# The server makes text durable in pieces of this size, and recognises those that come again.
DURABLE_BYTES = 256 * 1024
PIECE_BYTES = 1024 * 1024
# A connection that breaks often carries small pieces still.
PIECE_BYTES_MIN = 16 * 1024
# So often the server is asked how many tokens it has read while text is still being sent.
LOOK_BYTES = 8 * PIECE_BYTES


class Reading:
    """One source's way into a session; `at` is the offset in the session's text where its first byte belongs.

    Without `at` the source goes behind the text that is there. With it, reading goes on where it was broken off:
    the last durable piece is sent once more, so that the server finds out if the source is another one.
    """

    def __init__(
        self, handle: Handle, at: int | None, total_bytes: int | None, retries: Retries, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self._handle, self._at_given, self._total_bytes = handle, at, total_bytes
        self._piece_bytes = self._piece_bytes_max = piece_bytes
        self._attempts = Attempts(retries)
        # The position is where the next piece goes; up to `ours` the text is known to be the source's.
        self._at = self._position = self._ours = self._accepted = self._read = self._tokens = 0
        self._tokens_per_second = 0.0

    def flow(self, wait: bool) -> Flow[Progress]:
        """Sends the source to its end, tells of progress, and with `wait` returns when all of it has been read."""
        yield from self._begin()
        while True:
            try:
                yield from self._send_all()
                if wait:
                    yield from self._follow()
                    yield from self._look()
                    yield Tell(self._progress())
                return self._progress()
            except errors.TextRolledBack as error:
                yield from self._go_back(error)

    def _begin(self) -> Flow[None]:
        if self._at_given is None and self._handle.receipt is not None:
            # Behind the end is only behind what was there before if nothing of that was lost.
            nothing = requests.nothing(self._handle.id, self._handle.receipt)
            reply = yield from exchanged(nothing, self._attempts)
            self._handle.note(reply)
            self._see(replies.object_in(reply))
        else:
            yield from self._look()
        self._at = self._accepted if self._at_given is None else self._at_given
        if self._accepted < self._at:
            raise errors.SourceMismatch(
                f"the session's text ends at offset {self._accepted}, before {self._at} where this source is to begin; "
                "send what comes before it first"
            )
        known = self._accepted - self._at
        if self._total_bytes is not None and known > self._total_bytes:
            raise errors.SourceMismatch(
                f"behind offset {self._at} the session has {known} bytes of text and the source only "
                f"{self._total_bytes}: it is another text, or more was appended since"
            )
        self._position, self._ours = self._resumed_at(self._accepted), self._accepted
        yield Tell(self._progress())

    def _resumed_at(self, durable: int) -> int:
        """Where sending goes on behind `durable` text of this source: one durable piece before its end."""
        known = durable - self._at
        return durable - (known and (known % DURABLE_BYTES or DURABLE_BYTES))

    def _send_all(self) -> Flow[None]:
        looked_at = self._position
        while piece := (yield from taken(self._position - self._at, self._piece_bytes)):
            yield from self._append(piece)
            if self._position - looked_at >= LOOK_BYTES:
                yield from self._look()
                looked_at = self._position
            yield Tell(self._progress())

    def _append(self, piece: bytes) -> Flow[None]:
        """Sends the piece once; afterwards the position is where sending goes on."""
        end = self._position + len(piece)
        try:
            reply = yield from sent(requests.append(self._handle.id, self._position, piece, self._handle.receipt))
            if not reply.ok:
                raise replies.refusal(reply)
        except errors.OffsetMismatch as error:
            self._correct(error)
        except errors.OncereadError as error:
            yield from self._attempts.pause_after(error, repeatable=True)
            if not isinstance(error, errors.NotNow):
                self._piece_bytes = max(PIECE_BYTES_MIN, self._piece_bytes // 2)
            yield from self._look()
            if self._position < self._accepted <= end:
                # What was durable is seen to be ours when its last piece comes again.
                self._position += (self._accepted - self._position - 1) // DURABLE_BYTES * DURABLE_BYTES
        else:
            self._handle.note(reply)
            self._see(replies.object_in(reply))
            self._position, self._ours = end, max(self._ours, end)
            self._piece_bytes = min(self._piece_bytes_max, self._piece_bytes * 2)

    def _correct(self, error: errors.OffsetMismatch) -> None:
        """Stands where the server says, if nothing can come between what is ours and what is sent next."""
        expected = error.expected_offset
        if expected is None or expected < self._at or expected > self._ours:
            raise error
        self._attempts.count(error)
        self._position = expected

    def _follow(self) -> Flow[None]:
        """Returns when the server has read what was sent."""
        end, done = self._position, False
        while not done and self._read < end:
            try:
                yield from self._follow_once(end)
                done = True
            except errors.TextRolledBack:
                raise
            except errors.OncereadError as error:
                yield from self._attempts.pause_after(error, repeatable=True)
                yield from self._look()
                yield Tell(self._progress())

    def _follow_once(self, end: int) -> Flow[None]:
        reply = yield from opened(requests.follow(self._handle.id, end, self._handle.receipt))
        if not reply.ok:
            raise replies.refusal(reply)
        self._handle.note(reply)
        while event := (yield from next_event()):
            if event.name == "error":
                raise replies.event_problem(event)
            self._see(replies.event_object(event))
            yield Tell(self._progress())
            if event.name == "done":
                return
        raise errors.ConnectionFailed("the stream of progress broke off")

    def _look(self) -> Flow[None]:
        """Asks how far the text is durable and read, without a receipt: an append shows it, and says what is lost."""
        reply = yield from exchanged(requests.get(self._handle.id), self._attempts)
        self._see(replies.object_in(reply).get("text", {}))

    def _see(self, counts: dict[str, object]) -> None:
        """Takes in how far the server is; that it got on gives patience for further failures."""
        before = self._accepted, self._read
        self._accepted = int(str(counts.get("accepted_bytes", self._accepted)))
        self._read = int(str(counts.get("read_bytes", self._read)))
        self._tokens = int(str(counts.get("tokens", self._tokens)))
        self._tokens_per_second = float(str(counts.get("tokens_per_second", self._tokens_per_second)))
        if self._accepted > before[0] or self._read > before[1]:
            self._attempts.got_on()

    def _go_back(self, error: errors.TextRolledBack) -> Flow[None]:
        """Stands where the surviving text ends, if the source can be had again from there."""
        survived = error.expected_offset
        if survived is None or survived < self._at:
            raise error
        self._attempts.count(error)
        position = self._resumed_at(survived)
        try:
            yield from taken(position - self._at, 1)
        except errors.SourceNotRereadable:
            raise error from None
        self._handle.receipt = None
        self._position, self._ours = position, survived
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
