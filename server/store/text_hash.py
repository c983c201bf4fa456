"""The chain of a text: a polynomial hash of its bytes that can be extended, independent of how the text was cut.

It is neither secret nor a signature: the sender of a text can make another with the same chain, and would harm only
their own session. Bytes that are lost, doubled or reordered by mistake change it.
"""

# The bytes are the digits of a number in base 256, after a leading 1 that makes leading zeros count. The chain is its
# remainder.
_PRIME = 2**255 - 19
EMPTY_CHAIN = f"{1:064x}"


def extended(chain: str, text: bytes) -> str:
    """The chain of a text with this `chain` after `text` is appended."""
    shifted = int(chain, 16) * pow(256, len(text), _PRIME)
    return f"{(shifted + int.from_bytes(text, 'big')) % _PRIME:064x}"


def replaced(chain: str, old: bytes, new: bytes, following_bytes: int) -> str:
    """The chain of a text with this `chain` after the bytes `old`, with so many behind them, became as many others."""
    change = int.from_bytes(new, "big") - int.from_bytes(old, "big")
    return f"{(int(chain, 16) + change * pow(256, following_bytes, _PRIME)) % _PRIME:064x}"


def shortened(chain: str, text: bytes) -> str:
    """The chain of a text with this `chain` after its last bytes, `text`, are removed."""
    rest = int(chain, 16) - int.from_bytes(text, "big")
    return f"{rest * pow(256, -len(text), _PRIME) % _PRIME:064x}"
