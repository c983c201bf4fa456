"""Latency of small requests while a thousand slow clients hold connections, and without them."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.synchronize import Event
from random import Random

from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_bytes
from benchmarks.timing import percentile, seconds_of

NAME = "slow_clients"
CLAIM = "a thousand slow clients that reconnect when cut off at most double the latency of small requests"
TWICE = Goal("at most", 2.0)
CLIENTS = 1000
# Each sends a byte per interval; fifty connect per second, as with slowhttptest.
DRIBBLE_SECONDS = 1.0
SLICES = 100
COMING_PER_SECOND = 50
ROUNDS = 2
REQUESTS_A_QUESTION = 5
WARM_UP = 20
PAUSE_SECONDS_MAX = 0.01
START_SECONDS_MAX = 60
BEGINNINGS = (
    b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX: ",
    b"POST /v1/sessions/small/text HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n",
)


def measure(plan: Plan) -> Section:
    """Quiet and crowded rounds in alternation, each with views of a session and questions of one output token."""
    seconds: dict[str, list[float]] = {"quiet_view": [], "crowded_view": [], "quiet_ask": [], "crowded_ask": []}
    with served(plan) as (server, client):
        client.create("small")
        client.append("small", prose_of_bytes(4096, seed=11), wait=True)
        _ask(plan, client, [], [], "warming up", WARM_UP)
        for turn in range(ROUNDS):
            for name in ("quiet", "crowded") if turn % 2 else ("crowded", "quiet"):
                with crowd(server.port) if name == "crowded" else nullcontext():
                    count = plan.sizes.questions * REQUESTS_A_QUESTION
                    _ask(plan, client, seconds[f"{name}_view"], seconds[f"{name}_ask"], f"requests, {name}", count)
    figures = [Figure("slow_clients_count", CLIENTS), Figure("requests_count", len(seconds["quiet_view"]))]
    for kind in ("view", "ask"):
        for percent in (50, 99):
            quiet, crowded = (percentile(seconds[f"{name}_{kind}"], percent) for name in ("quiet", "crowded"))
            figures += [
                Figure(f"{kind}_quiet_p{percent}_milliseconds", quiet * 1e3),
                Figure(f"{kind}_crowded_p{percent}_milliseconds", crowded * 1e3),
                Figure(f"{kind}_crowded_to_quiet_p{percent}_ratio", crowded / quiet, TWICE if percent == 99 else None),
            ]
    return Section(NAME, CLAIM, tuple(figures))


def _ask(plan: Plan, client: Client, views: list[float], asks: list[float], description: str, count: int) -> None:
    random = Random(count)
    for _ in tqdm(range(count), desc=description):
        time.sleep(random.uniform(0, PAUSE_SECONDS_MAX))
        views.append(seconds_of(lambda: client.view("small")))
        asks.append(seconds_of(lambda: client.ask("small", "Where is Mary?", 1)))


@contextmanager
def crowd(port: int) -> Iterator[None]:
    """Slow clients in their own process, all connected, until the block ends."""
    spawning = multiprocessing.get_context("spawn")
    complete, ended = spawning.Event(), spawning.Event()
    process = spawning.Process(target=dribble, args=(port, complete, ended), daemon=True)
    process.start()
    try:
        if not complete.wait(START_SECONDS_MAX):
            raise RuntimeError(f"{CLIENTS} slow clients could not connect in {START_SECONDS_MAX} s")
        yield
    finally:
        ended.set()
        process.join()


def dribble(port: int, complete: Event, ended: Event) -> None:
    """Holds the connections, sends a byte on each per interval, and reconnects where the server has cut one off."""
    slow = []
    for number in range(CLIENTS):
        slow.append(connect(port, number))
        ended.wait(1 / COMING_PER_SECOND)
    complete.set()
    while True:
        for turn in range(SLICES):
            if ended.wait(DRIBBLE_SECONDS / SLICES):
                return
            for number in range(turn, CLIENTS, SLICES):
                if is_cut(slow[number]):
                    slow[number].close()
                    slow[number] = connect(port, number)


def connect(port: int, number: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(BEGINNINGS[number % len(BEGINNINGS)])
    connection.setblocking(False)
    return connection


def is_cut(connection: socket.socket) -> bool:
    """Sends a byte; whether the server has replied or closed the connection."""
    try:
        connection.send(b"x")
        connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
