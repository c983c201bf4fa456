"""`python -m tests.server.http.failing TOKEN`: a server whose model raises wherever a row has this token."""

from __future__ import annotations

import sys
from typing import Any

import server.app
from model.mechanisms.base import MemoryTransformer
from server.__main__ import main
from server.engine.model_runner import ModelRunner


class FailingRunner(ModelRunner):
    """A runner of a model that reads and prefills no batch with the token."""

    token: int

    def __init__(self, model: MemoryTransformer) -> None:
        for name in ("read", "read_windows", "prefill"):
            setattr(model, name, self._without_the_token(getattr(model, name)))
        super().__init__(model)

    def _without_the_token(self, method: Any) -> Any:
        def checked(ids: Any, *more: Any) -> Any:
            if bool((ids == self.token).any()):
                raise RuntimeError("the token was met")
            return method(ids, *more)

        return checked


if __name__ == "__main__":
    FailingRunner.token = int(sys.argv.pop(1))
    vars(server.app)["ModelRunner"] = FailingRunner
    sys.exit(main())
