"""Where an answer stops, in whatever pieces it comes, against looking at every character of the whole text."""

from hypothesis import given
from hypothesis import strategies as st

from server.sessions.stop_strings import StopCut

TEXTS = st.text("ab\n", max_size=12)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def shown(text: str, stops: list[str]) -> str:
    """The obviously right twin: goes on character by character until a stop string is whole, and takes it off."""
    for end in range(len(text) + 1):
        if whole := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, whole))]
    return text


@given(st.lists(TEXTS, max_size=8), STOPS)
def test_stop_strings_do_not_depend_on_how_the_text_is_cut(pieces: list[str], stops: list[str]) -> None:
    cut, text = StopCut(stops), "".join(pieces)
    released = ""
    for piece in pieces:
        released += cut.push(piece)
        # What is given out is never taken back, and never holds what was to be cut off.
        assert shown(text, stops).startswith(released)
    assert released + cut.finish() == shown(text, stops)
    assert cut.stopped == any(stop in text for stop in stops)


@given(st.text("ab\n", max_size=40))
def test_without_stop_strings_every_piece_is_passed_on_at_once(text: str) -> None:
    assert StopCut(()).push(text) == text
