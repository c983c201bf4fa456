"""Commands over one connection: all are sent, then all answers are read, whatever one of them says.

It knows no connection's way and no command's meaning.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

Command = Sequence[str | bytes | int]


async def exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """All answers in order, a refusal as its error: what is not read here, the next asker would read."""
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await _answer(connection) for _ in commands]


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
