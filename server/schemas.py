"""The bodies that come in and go out, field by field.

It knows shapes and bounds, and nothing of what is done with them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Body(BaseModel):
    """A request's body: a field that is not named here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionCreate(Body):
    id: SessionId | None = None
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)
    ttl_seconds: float | None = Field(None, gt=0, le=10 * 365 * 86400, allow_inf_nan=False)


class TextAppend(Body):
    """A JSON body of text, or one line of NDJSON."""

    text: str


class Ask(Body):
    """One question or several; how long and how free the answers may be."""

    question: str | None = Field(None, min_length=1)
    questions: list[Annotated[str, StringConstraints(min_length=1)]] | None = Field(None, min_length=1)
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stream: bool = False

    @model_validator(mode="after")
    def one_way_of_asking(self) -> Self:
        if (self.question is None) == (self.questions is None):
            raise ValueError("give either question or questions")
        if self.stream and self.questions is not None:
            raise ValueError("only a single question can be streamed")
        return self


class TextCounts(BaseModel):
    accepted_bytes: int
    read_bytes: int
    tokens: int


class MemoryCounts(BaseModel):
    version: int
    segments: int
    bytes: int


class Session(BaseModel):
    id: str
    object: Literal["session"] = "session"
    created_at: float
    updated_at: float
    expires_at: float | None = None
    metadata: dict[str, str]
    model: str
    fingerprint: str
    status: Literal["idle", "reading", "quarantined"]
    text: TextCounts
    memory: MemoryCounts


class SessionList(BaseModel):
    data: list[Session]
    has_more: bool
    last_id: str | None


class TextAppended(BaseModel):
    object: Literal["text.appended"] = "text.appended"
    session: str
    accepted_bytes: int
    read_bytes: int
    replayed: bool


class Usage(BaseModel):
    """`prompt_tokens` were computed for this question, `memory_tokens` could be drawn on."""

    prompt_tokens: int
    completion_tokens: int
    memory_tokens: int


class MemoryUsed(BaseModel):
    version: int
    offset: int
    restored_from: Literal["device", "host", "store"]
    restore_seconds: float


class AnswerOne(BaseModel):
    object: Literal["answer"] = "answer"
    session: str
    answer: str
    finish_reason: Literal["stop", "length"]
    usage: Usage
    memory: MemoryUsed


class AnswerPart(BaseModel):
    """One of several answers."""

    answer: str
    finish_reason: Literal["stop", "length"]
    usage: Usage


class AnswerMany(BaseModel):
    object: Literal["answer"] = "answer"
    session: str
    answers: list[AnswerPart]
    usage: Usage
    memory: MemoryUsed


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """RFC 9457's problem, with OpenAI's error inside; some codes add members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    error: ErrorDetail
