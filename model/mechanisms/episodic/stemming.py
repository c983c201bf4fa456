"""English words without their endings, so that a question's "begin" finds "began" and "beginning".

A light stemmer after Harman 1991, "How Effective Is Suffixing?": few rules, none that needs a vocabulary. Measured
against the Snowball stemmer it finds as well (LOG.md). Words of other languages lose at most an "s" or an "e".
"""

from __future__ import annotations

_IRREGULAR_FORMS = """
arise arose arisen; bear bore borne born; beat beaten; become became; begin began begun; bend bent; bind bound;
bite bit bitten; blow blew blown; break broke broken; breed bred; bring brought; build built; burn burnt; buy bought;
catch caught; child children; choose chose chosen; come came; creep crept; deal dealt; dig dug; do did done does;
draw drew drawn; dream dreamt; drink drank drunk; drive drove driven; eat ate eaten; fall fell fallen; feed fed;
feel felt; fight fought; find found; flee fled; fly flew flown; foot feet; forbid forbade forbidden;
forget forgot forgotten; forgive forgave forgiven; freeze froze frozen; get got gotten; give gave given;
go went gone goes; goose geese; grow grew grown; hang hung; have had has; hear heard; hide hid hidden; hold held;
keep kept; kneel knelt; knife knives; know knew known; lay laid; lead led; leaf leaves; lean leant; leap leapt;
learn learnt; leave left; lend lent; life lives; light lit; lose lost; make made; man men; mean meant; meet met;
mouse mice; pay paid; ride rode ridden; ring rang rung; rise rose risen; run ran; say said; see saw seen;
seek sought; sell sold; send sent; shake shook shaken; shine shone; shoot shot; show shown; shrink shrank;
sing sang sung; sink sank sunk; sit sat; sleep slept; slide slid; smell smelt; speak spoke spoken; spend spent;
spin spun; spring sprang sprung; stand stood; steal stole stolen; stick stuck; sting stung; strike struck;
strive strove; swear swore sworn; sweep swept; swim swam swum; swing swung; take took taken; teach taught;
tear tore torn; tell told; think thought; thief thieves; throw threw thrown; tooth teeth;
understand understood; wake woke woken; wear wore worn; weave wove woven; weep wept; wife wives; win won;
wolf wolves; woman women; write wrote written
"""
_BASE_OF = {form: forms[0] for forms in (entry.split() for entry in _IRREGULAR_FORMS.split(";")) for form in forms[1:]}


def stem(word: str) -> str:
    """The stem of a word in lower case; it need not be a word."""
    word = word.removesuffix("'s").replace("'", "")
    word = _BASE_OF.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 5 and word.endswith("ly"):
        word = word[:-2]
    if len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
    elif len(word) > 4 and word.endswith("ed"):
        word = word[:-2]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word
