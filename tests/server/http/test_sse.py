"""Server-sent events as a browser parses them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from server.http.routes.shared import event


@given(st.text())
def test_an_event_has_one_line_of_data_for_any_text(text: str) -> None:
    name, data, end = event("delta", {"text": text}).decode().split("\n", 2)
    assert name == "event: delta"
    assert end == "\n"
    assert json.loads(data.removeprefix("data: ")) == {"text": text}
