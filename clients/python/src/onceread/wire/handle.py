"""What a client knows of one session beside its name: the latest receipt, and what acknowledged text survives.

Pure: it takes both from replies, and knows nothing of what they answer.
"""

from __future__ import annotations

from onceread.wire.requests import RECEIPT
from onceread.wire.steps import Reply

DURABILITY = "Onceread-Durability"


class Handle:
    def __init__(self, id: str, receipt: str | None = None) -> None:
        self.id, self.receipt = id, receipt
        self.durability: str | None = None

    def note(self, reply: Reply) -> None:
        """Keeps what the reply says of the text's safety."""
        self.receipt = reply.headers.get(RECEIPT.lower(), self.receipt)
        self.durability = reply.headers.get(DURABILITY.lower(), self.durability)
