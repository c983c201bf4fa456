"""Text to read: prose of common words from a seed, with a fact in every segment."""

from __future__ import annotations

from random import Random

from model.tokenizer import TextTokenizer

WORDS = (
    "the of and to in he was that it his her with as had you for she not at but be on all have him said which they "
    "from so this by one there were we when would what been who no if out more up my about into could them then do "
    "their time some very than little now like upon over man know only any other well after did good made before "
    "house room door light night morning evening street water fire table window garden river road hill tree winter "
    "summer mother father brother sister friend child woman people voice hand face eye heart mind word letter book "
    "story name work day year hour place world country town ship horse dog bread tea wine money law war peace came "
    "went saw thought heard told asked looked turned walked stood sat began found gave left kept held brought took "
    "seemed felt knew called spoke wrote read opened closed waited answered old young great small long short white "
    "black dark cold warm quiet happy strange true poor rich early late never always often again still perhaps"
).split()
# The model skips segments without facts.
FACT = " Mary went to the kitchen."
WORDS_A_FACT = 48
ENDS = ("",) * 8 + (",", ".", ".", ".\n")


def token_ids(tokenizer: TextTokenizer, tokens: int, seed: int, facts: bool = True) -> list[int]:
    """Exactly `tokens` tokens of prose."""
    random = Random(seed)
    ids: list[int] = []
    while len(ids) < tokens:
        ids += tokenizer.encode(_passage(random, min(tokens - len(ids), 8192), facts))
    return ids[:tokens]


def prose_of_tokens(tokenizer: TextTokenizer, tokens: int, seed: int, facts: bool = True) -> str:
    """Prose of `tokens` tokens, plus or minus one at the cut."""
    # Encoded again as a whole: white space between two passages can become one token.
    text = tokenizer.decode(token_ids(tokenizer, tokens + tokens // 100 + 64, seed, facts)).decode()
    return tokenizer.decode(tokenizer.encode(text)[:tokens]).decode()


def prose_of_bytes(length_bytes: int, seed: int) -> str:
    """Prose of exactly `length_bytes` bytes, all ASCII."""
    random = Random(seed)
    return _passage(random, length_bytes, facts=True)[:length_bytes]


def _passage(random: Random, words: int, facts: bool) -> str:
    """`words` words with spaces and some punctuation."""
    return "".join(
        f" {word}{random.choice(ENDS)}" + (FACT if facts and not index % WORDS_A_FACT else "")
        for index, word in enumerate(random.choices(WORDS, k=words))
    )
