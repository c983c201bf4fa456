"""One form for line ends and spaces, so that a file from any system is read as text like that of the training.

For the project's own tokenizer only: with foreign tokenizers token ids are the text as it was sent.
"""

from __future__ import annotations

import re

BYTE_ORDER_MARK = "\ufeff"
# Unicode's white space within a line, and its line ends other than CR.
SPACES = "\t \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
LINE_ENDS = "\n\v\f\x85\u2028\u2029"
_OTHER_SPACES = re.compile(f"[{SPACES}]{{2,}}|[{SPACES.replace(' ', '')}]")
_LINE_END = re.compile(f" ?(?:\r\n?|[{LINE_ENDS}]) ?")


def normalized(text: str) -> str:
    """The text with each line end as one LF, without spaces beside it, and with each other run of spaces as one space.

    U+FEFF is dropped. Never more bytes than the text has, and idempotent.
    """
    return _LINE_END.sub("\n", _OTHER_SPACES.sub(" ", text.replace(BYTE_ORDER_MARK, "")))


def normalized_part(text: str) -> tuple[str, str]:
    """The normalized form of a text that more may follow, and a CR at its end, which waits for the LF that may follow.

    What follows is to be normalized behind both, of the normalized form at least behind its last character.
    """
    text = text.replace(BYTE_ORDER_MARK, "")
    rest = text.removesuffix("\r")
    return normalized(rest), text[len(rest) :]
