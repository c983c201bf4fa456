"""The chain of a text: a number that follows every byte, whatever pieces the text came in.

It is no secret and no signature, and knows no session: who sends a text can make another of the same chain, and
would deceive only himself. What is lost, doubled or out of order by mistake changes it.
"""

# A text's bytes are the digits of a number, behind a one that makes leading zeros count; its remainder is the chain.
_PRIME = 2**255 - 19
EMPTY_CHAIN = f"{1:064x}"


def extended(chain: str, text: bytes) -> str:
    """The chain of a text with this `chain` once `text` is behind it."""
    shifted = int(chain, 16) * pow(256, len(text), _PRIME)
    return f"{(shifted + int.from_bytes(text, 'big')) % _PRIME:064x}"


def shortened(chain: str, text: bytes) -> str:
    """The chain of a text with this `chain` before `text`, with which it ends."""
    rest = int(chain, 16) - int.from_bytes(text, "big")
    return f"{rest * pow(256, -len(text), _PRIME) % _PRIME:064x}"
