"""The server's settings, from the environment's ONCEREAD_* names, frozen; a name it does not know is refused.

It knows nothing of the model's shape, which travels with the weights, nor of request bodies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "ONCEREAD_"


class SettingsError(ValueError):
    """The environment does not make sound settings; the message names each name and what is wrong with it."""


class Settings(BaseModel):
    """Every setting with its unit as its name's last word, its default and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    keys_file: Path | None = Field(
        None, description="keys of those who may use the server; left out, everybody may who can reach it"
    )
    open: bool = Field(False, description="lets everybody use a server without keys on other addresses than loopback")
    store: str = Field(
        "sqlite:///data",
        description="where sessions are kept: sqlite:///FOLDER, memory://, redis://, rediss://, redis+sentinel:// or "
        "redis+cluster://",
    )
    durability: Literal["fsync", "fsync+replica", "everysec", "volatile"] = Field(
        "fsync", description="what an acknowledged byte survives; the README says what each one means"
    )
    store_replicas: int = Field(1, ge=1, le=9, description="replicas of Redis that must confirm, for fsync+replica")
    seal_keys_file: Path | None = Field(
        None, description="keys that stored values are sealed with; made when missing [beside the data]"
    )
    store_password_file: Path | None = Field(None, description="file with the store's password")
    store_ca_file: Path | None = Field(None, description="certificates that the store's own is checked against")
    store_certificate_file: Path | None = Field(None, description="this server's certificate for the store")
    store_key_file: Path | None = Field(None, description="the key of that certificate")
    weights: Path = Field(Path("model/default"), description="folder of weights, configuration and tokeniser")
    device: str | None = Field(None, description="cpu, cuda or cuda:N; left out: CUDA where there is one")
    threads: int = Field(
        default_factory=lambda: max(1, len(os.sched_getaffinity(0)) - 1),
        ge=1,
        le=1024,
        description="processor threads of the model; by itself it leaves one for all the rest",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["text", "json"] = Field("text", description="lines for people, or JSON objects")
    traces_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="where traces are sent (OTLP over HTTP: http://HOST:4318/v1/traces); left out: nowhere",
    )

    step_tokens: int = Field(256, ge=1, le=1 << 20, description="tokens one engine step reads and writes at most")
    answers_max: int = Field(64, ge=1, le=4096, description="answers written at the same time")
    answers_waiting_max: int = Field(256, ge=1, le=1 << 16, description="questions waiting; beyond it 429")
    reading_sessions_max: int = Field(32, ge=1, le=4096, description="sessions whose text is read at the same time")
    backlog_bytes: int = Field(
        1 << 30, ge=1 << 18, description="accepted text waiting to be read, of all sessions; beyond it 429"
    )
    resident_bytes: int = Field(
        1 << 30, ge=1 << 16, description="memories kept at hand; the least recently used leave first"
    )

    checkpoint_segments: int = Field(32, ge=1, le=1 << 16, description="segments read between two checkpoints")
    checkpoint_seconds: float = Field(5.0, gt=0, le=3600, description="a memory's age before it is stored")
    checkpoint_bytes_per_second: float = Field(
        64 * 1024 * 1024, ge=1 << 16, le=1 << 40, description="memories stored by this server at most"
    )
    idle_seconds: float = Field(1.0, ge=0, le=3600, description="quiet time after which a memory is stored")
    lease_seconds: float = Field(
        10.0, ge=0.5, le=600, description="time after which another replica may read on for one that died"
    )
    sweep_seconds: float = Field(
        5.0, gt=0, le=3600, description="between two looks for sessions that nobody reads, or whose time is over"
    )
    drain_seconds: float = Field(25.0, gt=0, le=3600, description="time that running answers have to end")

    session_ttl_seconds: float | None = Field(
        None, gt=0, le=10 * 365 * 86400, description="life of a session that is not used and names none itself"
    )
    tenant_sessions_max: int | None = Field(None, ge=1, description="sessions a tenant may have; beyond it 429")
    tenant_stored_bytes_max: int | None = Field(
        None, ge=1 << 18, description="bytes a tenant's sessions may take in the store; looked up every 10 s"
    )

    tenant_answers_max: int | None = Field(
        None, ge=1, description="requests for answers a tenant may have open at the same time; beyond it 429"
    )
    tenant_requests_per_second: float | None = Field(
        None, ge=1 / 60, description="requests a tenant may send, over a minute; beyond it 429"
    )
    tenant_text_bytes_per_second: float | None = Field(
        None, ge=1 / 60, description="text a tenant may send, over a minute; then uploads are slowed, new ones get 429"
    )

    connections_max: int = Field(4096, ge=1, description="connections open at the same time; beyond it 503")
    header_bytes: int = Field(1 << 15, ge=1 << 8, le=1 << 20, description="all headers of a request")
    url_bytes: int = Field(1 << 13, ge=1 << 7, le=65535, description="longest URL of a request")
    header_seconds: float = Field(10.0, gt=0, le=3600, description="time that a request's headers may take to come")
    body_seconds: float = Field(60.0, gt=0, le=86400, description="time that a JSON body may take to come")
    body_bytes_per_second_min: float = Field(128.0, gt=0, le=1 << 30, description="slowest that any body may come")
    body_stall_seconds: float = Field(
        20.0, gt=0, le=86400, description="time that a body may be late by at that rate before it is cut off"
    )
    unread_seconds: float = Field(
        60.0, gt=0, le=86400, description="time that a client may leave an answer unread that it was sent"
    )
    idle_connection_seconds: float = Field(
        60.0, gt=0, le=86400, description="time that a connection stays open without a request"
    )

    digest_body_bytes: int = Field(
        8 << 20, ge=1 << 10, le=1 << 30, description="largest body with a Content-Digest, checked before it is kept"
    )
    answer_seconds: float = Field(
        300.0, gt=0, le=86400, description="time an answer may take; then it ends as by max_tokens"
    )
    body_bytes: int = Field(1 << 20, ge=1 << 10, le=1 << 30, description="largest JSON body, or NDJSON line")
    json_depth: int = Field(32, ge=4, le=512, description="deepest JSON body")
    question_characters: int = Field(8192, ge=1, le=1 << 20, description="longest question")
    questions_max: int = Field(64, ge=1, le=4096, description="questions in one request")
    answer_tokens_max: int = Field(4096, ge=1, le=1 << 20, description="largest max_tokens")
    ping_seconds: float = Field(10.0, gt=0, le=10, description="silence before a stream sends a comment")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and value != ""
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = "; ".join(f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{faults}. `python -m server --help` lists every setting.") from None


def table() -> str:
    """Every setting, its default, its limits and its meaning, as `--help` prints it."""
    lines = []
    for name, field in Settings.model_fields.items():
        limits = " ".join(
            f"{sign}{bound}"
            for constraint in field.metadata
            for kind, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
            if (bound := getattr(constraint, kind, None)) is not None
        )
        default = field.get_default(call_default_factory=True)
        default = "" if default is None else default
        lines.append(f"  {PREFIX + name.upper():<32} {field.description} [{default}] {limits}".rstrip())
    return "\n".join(lines)
