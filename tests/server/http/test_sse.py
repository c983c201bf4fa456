"""Events as a browser would read them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from server.http.routes.shared import event


@given(st.text())
def test_an_event_is_one_line_of_data_whatever_the_text(text: str) -> None:
    name, data, end = event("delta", {"text": text}).decode().split("\n", 2)
    assert name == "event: delta"
    assert end == "\n"
    assert json.loads(data.removeprefix("data: ")) == {"text": text}
