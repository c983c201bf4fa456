"""The server's settings: from the environment's `ONCEREAD_*` names and the command line's flags, frozen.

A name that is neither a setting nor one of our clients' is refused. The groups below only order them: every name is
flat, and its last word is its unit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "ONCEREAD_"
# Our clients read these: a shell that has exported them for a client may start the server too.
CLIENT_NAMES = frozenset({"ONCEREAD_URL", "ONCEREAD_API_KEY"})


class SettingsError(ValueError):
    """The settings are not valid; the message names each one and what is wrong with it."""


class ListenSettings(BaseModel):
    """Address and access"""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    keys_file: Path | None = Field(None, description="API keys file; without one the server requires no key")
    open: bool = Field(False, description="allow listening beyond loopback without a keys file")
    hosts: str = Field(
        "", description="names of this server beside loopback ones, if it requires no key, comma-separated; * for any"
    )
    origins: str = Field("", description="origins of other web pages that may use this server, comma-separated")
    page: bool = Field(True, description="serve the page at /")


class StoreSettings(BaseModel):
    """Store"""

    store: str = Field(
        "sqlite:///data",
        description="URL of the store: sqlite:///FOLDER, memory://, redis://, rediss://, redis+sentinel:// or "
        "redis+cluster://",
    )
    durability: Literal["fsync", "fsync+replica", "everysec", "volatile"] = Field(
        "fsync", description="what acknowledged text survives; see docs/durability.md"
    )
    store_replicas: int = Field(
        1, ge=1, le=9, description="Redis replicas that must confirm a write, for fsync+replica"
    )
    seal_keys_file: Path | None = Field(
        None, description="encryption keys of stored values (AES-GCM); created next to the data if missing"
    )
    store_password_file: Path | None = Field(None, description="file with the store's password")
    store_ca_file: Path | None = Field(None, description="CA certificates that verify the store's certificate")
    store_certificate_file: Path | None = Field(None, description="client certificate for the store (mutual TLS)")
    store_key_file: Path | None = Field(None, description="private key of the client certificate")


class ModelSettings(BaseModel):
    """Model"""

    weights: Path = Field(Path("model/smollm2"), description="folder with weights, configuration and tokenizer")
    device: str | None = Field(None, description="cpu, cuda or cuda:N; CUDA by default where available")
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto", description="weights of a pretrained model on a CPU; auto: the fastest by measurement at startup"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads of the model; by default all cores for a pretrained model, else one less",
    )

    def threads_for(self, mechanism: str) -> int:
        """The threads of a model with this mechanism. `episodic` computes only for answers, not to read."""
        cores = len(os.sched_getaffinity(0))
        return self.threads or (cores if mechanism == "episodic" else max(1, cores - 1))


class EngineSettings(BaseModel):
    """Engine"""

    step_tokens: int = Field(256, ge=1, le=1 << 20, description="token budget of one engine step")
    answers_max: int = Field(64, ge=1, le=4096, description="answers decoded concurrently (decode batch size)")
    answers_waiting_max: int = Field(256, ge=1, le=1 << 16, description="questions queued for decoding; beyond it 429")
    answer_wait_seconds: float = Field(
        60.0, gt=0, le=86400, description="time a question waits for unread text; then 429 reading_behind"
    )
    answer_seconds: float = Field(
        300.0, gt=0, le=86400, description="time limit of decoding an answer; it then ends with finish_reason length"
    )
    reading_sessions_max: int = Field(32, ge=1, le=4096, description="sessions whose text is read concurrently")
    backlog_bytes: int = Field(
        1 << 30, ge=1 << 18, description="limit of acknowledged but unread text, all sessions; beyond it 429"
    )
    resident_bytes: int = Field(
        1 << 30, ge=1 << 16, description="memory budget for resident session states (LRU eviction)"
    )


class CheckpointSettings(BaseModel):
    """Checkpoints and leases"""

    checkpoint_segments: int = Field(256, ge=1, le=1 << 16, description="segments between checkpoints of a session")
    checkpoint_seconds: float = Field(5.0, gt=0, le=3600, description="time between checkpoints of a session")
    checkpoint_bytes_per_second: float = Field(
        64 * 1024 * 1024, ge=1 << 16, le=1 << 40, description="rate limit of this server's checkpoint writes"
    )
    idle_seconds: float = Field(1.0, ge=0, le=3600, description="idle time before a session is checkpointed")
    lease_seconds: float = Field(
        10.0, ge=0.5, le=600, description="lease of a session; when it expires another replica takes the session over"
    )
    sweep_seconds: float = Field(
        5.0, gt=0, le=3600, description="interval between sweeps for unread and expired sessions"
    )
    drain_seconds: float = Field(25.0, gt=0, le=3600, description="graceful-shutdown timeout for in-flight answers")


class TenantSettings(BaseModel):
    """Sessions and tenants (rates and concurrency are counted per server process)"""

    session_ttl_seconds: float | None = Field(
        None, gt=0, le=10 * 365 * 86400, description="default time to live of an unused session; none: no expiry"
    )
    tenant_sessions_max: int | None = Field(None, ge=1, description="sessions per tenant; beyond it 429")
    tenant_stored_bytes_max: int | None = Field(
        None, ge=1 << 18, description="stored bytes per tenant, measured every 10 s; beyond it 429"
    )
    tenant_answers_max: int | None = Field(
        None, ge=1, description="concurrent answer requests per tenant; beyond it 429"
    )
    tenant_requests_per_second: float | None = Field(
        None, ge=1 / 60, description="request rate per tenant; beyond it 429"
    )
    tenant_text_bytes_per_second: float | None = Field(
        None, ge=1 / 60, description="upload rate per tenant; uploads are throttled, new ones get 429"
    )


class ConnectionSettings(BaseModel):
    """Connections"""

    connections_max: int = Field(4096, ge=1, description="open connections; beyond it 503")
    header_bytes: int = Field(1 << 15, ge=1 << 8, le=1 << 20, description="size limit of a request's headers")
    url_bytes: int = Field(1 << 13, ge=1 << 7, le=65535, description="length limit of a request's URL")
    header_seconds: float = Field(10.0, gt=0, le=3600, description="timeout for a request's headers")
    body_seconds: float = Field(60.0, gt=0, le=86400, description="timeout for a JSON body")
    body_bytes_per_second_min: float = Field(128.0, gt=0, le=1 << 30, description="minimum rate of any request body")
    body_stall_seconds: float = Field(
        20.0, gt=0, le=86400, description="how far a body may fall behind the minimum rate before it is cut off"
    )
    unread_seconds: float = Field(
        60.0, gt=0, le=86400, description="timeout for a client that does not read its response"
    )
    idle_connection_seconds: float = Field(60.0, gt=0, le=86400, description="keep-alive timeout of a connection")


class RequestSettings(BaseModel):
    """Requests"""

    digest_body_bytes: int = Field(
        8 << 20, ge=1 << 10, le=1 << 30, description="size limit of a body with a Content-Digest (verified as a whole)"
    )
    body_bytes: int = Field(1 << 20, ge=1 << 10, le=1 << 30, description="size limit of a JSON body or an NDJSON line")
    json_depth: int = Field(32, ge=4, le=512, description="nesting limit of a JSON body")
    question_characters: int = Field(8192, ge=1, le=1 << 20, description="length limit of a question")
    questions_max: int = Field(64, ge=1, le=4096, description="questions per request")
    answer_tokens_max: int = Field(4096, ge=1, le=1 << 20, description="upper limit of max_tokens")
    extract_bytes: int = Field(
        64 << 20, ge=1 << 10, le=1 << 30, description="size limit of a file to extract text from, and of its text"
    )
    extract_seconds: float = Field(60.0, gt=0, le=3600, description="time limit of extracting the text of a file")
    ping_seconds: float = Field(10.0, gt=0, le=10, description="interval of keep-alive comments in an idle stream")


class LogSettings(BaseModel):
    """Logs and traces"""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="minimum log level")
    log_format: Literal["text", "json"] = Field("text", description="log lines as plain text or JSON objects")
    traces_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="OTLP/HTTP endpoint for traces, such as http://HOST:4318/v1/traces",
    )


class Settings(
    ListenSettings,
    ModelSettings,
    StoreSettings,
    EngineSettings,
    CheckpointSettings,
    TenantSettings,
    ConnectionSettings,
    RequestSettings,
    LogSettings,
):
    """Every setting with its default and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Self:
        """The settings that the environment and the flags give; flags, by the settings' names, win."""
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and name not in CLIENT_NAMES
        } | dict(flags or {})
        try:
            return cls.model_validate({name: value for name, value in given.items() if value != ""})
        except ValidationError as error:
            faults = "; ".join(f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{faults}. `python -m server --help` lists every setting.") from None


GROUPS: tuple[type[BaseModel], ...] = Settings.__bases__
