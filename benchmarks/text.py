"""Text to read: common words as prose, made from a seed alone, with a fact so often that every segment has one.

It knows words and token counts, and nothing of who reads them.
"""

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
# So that the model reads every segment without skipping; of prose without facts it would read next to none.
FACT = " Mary went to the kitchen."
WORDS_A_FACT = 48
ENDS = ("",) * 8 + (",", ".", ".", ".\n")


def token_ids(tokenizer: TextTokenizer, tokens: int, seed: int, facts: bool = True) -> list[int]:
    """Exactly so many tokens of prose."""
    random = Random(seed)
    ids: list[int] = []
    while len(ids) < tokens:
        ids += tokenizer.encode(_passage(random, min(tokens - len(ids), 8192), facts))
    return ids[:tokens]


def prose_of_tokens(tokenizer: TextTokenizer, tokens: int, seed: int, facts: bool = True) -> str:
    """Prose of so many tokens, give or take one where it is cut off."""
    # Encoded once more as a whole: where passages meet, white space can become one token.
    text = tokenizer.decode(token_ids(tokenizer, tokens + tokens // 100 + 64, seed, facts)).decode()
    return tokenizer.decode(tokenizer.encode(text)[:tokens]).decode()


def prose_of_bytes(length_bytes: int, seed: int) -> str:
    """Prose of exactly so many bytes: all of it is ASCII."""
    random = Random(seed)
    return _passage(random, length_bytes, facts=True)[:length_bytes]


def _passage(random: Random, words: int, facts: bool) -> str:
    """So many words, each with a space in front and now and then a sign behind."""
    return "".join(
        f" {word}{random.choice(ENDS)}" + (FACT if facts and not index % WORDS_A_FACT else "")
        for index, word in enumerate(random.choices(WORDS, k=words))
    )
