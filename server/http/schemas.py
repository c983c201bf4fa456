"""Request and response bodies of the native routes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from model.documents import NAME_CHARACTERS_MAX, is_name

SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
SnapshotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=256)]
SourcesCount = Annotated[int, Field(ge=0, le=16)]
TtlSeconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]

# So many characters of a name that is refused are shown.
_SHOWN_CHARACTERS = 32


def document_name(name: str) -> str:
    """The name of a document; `ValueError` where it is none."""
    if not is_name(name):
        shown = name[:_SHOWN_CHARACTERS]
        shown = f"'{shown}'" if shown.isprintable() else ascii(shown)
        more = f"… ({len(name)} characters)" if len(name) > _SHOWN_CHARACTERS else ""
        raise ValueError(
            f"{shown}{more} cannot name a document: a name has 1 to {NAME_CHARACTERS_MAX} characters, and none is "
            "a control character"
        )
    return name


DocumentName = Annotated[
    str,
    AfterValidator(document_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX}),
]

# How many sources an answer has at most, where the request does not say.
SOURCES = 3


class Body(BaseModel):
    """A request's body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Body):
    """The source of a fork: a session as it is now, or one of its snapshots."""

    session: SessionId
    snapshot: SnapshotName | None = None


class SessionCreate(Body):
    id: SessionId | None = None
    metadata: Metadata | None = None
    ttl_seconds: TtlSeconds | None = None
    keep_text: bool = False
    source: Source | None = Field(None, alias="from")

    @model_validator(mode="after")
    def a_fork_has_no_text(self) -> Self:
        if self.source is not None and self.keep_text:
            raise ValueError("keep_text: a fork has a memory and no text to keep; leave out keep_text or from")
        return self


class SessionRevise(Body):
    """Fields that are left out stay as they are; `ttl_seconds: null` removes the expiry."""

    metadata: Metadata | None = None
    ttl_seconds: TtlSeconds | None = None

    @model_validator(mode="after")
    def something_changes(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send metadata, ttl_seconds, or both")
        if "metadata" in self.model_fields_set and self.metadata is None:
            raise ValueError("metadata: send {} to remove it")
        return self

    @property
    def change(self) -> dict[str, object]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True)


class SnapshotCreate(Body):
    name: SnapshotName


class Restore(Body):
    snapshot: SnapshotName


class TextAppend(Body):
    """A JSON body of text, or one line of NDJSON.

    `document` begins a document of that name, or goes on with it; a heading with the name stands in front of the text.
    """

    text: str = ""
    document: DocumentName | None = None

    @model_validator(mode="after")
    def something_to_read(self) -> Self:
        if not self.model_fields_set:
            raise ValueError('send {"text": "…"}')
        return self

    def under(self, document: str | None) -> str:
        """The text behind text of `document`: with its own document's heading where that is another one."""
        same = self.document in (None, document)
        return self.text if same else f"\n\n{self.document}\n\n{self.text}"


class Ask(Body):
    """One question or several, and how the answers are generated."""

    question: str | None = Field(None, min_length=1)
    questions: list[Annotated[str, StringConstraints(min_length=1)]] | None = Field(None, min_length=1)
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    stop: list[StopString] = Field(default_factory=list, max_length=16)
    seed: int | None = Field(None, ge=0, lt=2**63)
    logprobs: bool = False
    stream: bool = False
    remember: bool = False
    min_offset: int | None = Field(None, ge=0, lt=2**63)
    snapshot: SnapshotName | None = None
    sources: SourcesCount = SOURCES

    @model_validator(mode="after")
    def one_way_of_asking(self) -> Self:
        if (self.question is None) == (self.questions is None):
            raise ValueError("send either question or questions")
        if self.stream and self.questions is not None:
            raise ValueError("only a single question can be streamed")
        if self.snapshot is not None and (self.remember or self.min_offset is not None):
            raise ValueError("snapshot: a snapshot does not change; leave out remember and min_offset")
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


class Snapshot(BaseModel):
    object: Literal["snapshot"] = "snapshot"
    session: str
    name: str
    created_at: float
    fingerprint: str
    offset: int
    tokens: int
    memory: MemoryCounts


class SnapshotList(BaseModel):
    data: list[Snapshot]


class ListedDocument(BaseModel):
    """A document of a session's text: where it begins, and the bytes and tokens of all of its parts."""

    object: Literal["document"] = "document"
    name: str
    offset: int
    bytes: int
    tokens: int


class DocumentDeleted(BaseModel):
    """What was deleted, and which snapshots do not have it any more (`followed`), or still have it (`kept`)."""

    object: Literal["document.deleted"] = "document.deleted"
    session: str
    name: str
    deleted_at: float
    bytes: int
    tokens: int
    ranges: list[tuple[int, int]]
    snapshots: dict[Literal["followed", "kept"], list[str]]
    receipt: str


class DocumentList(BaseModel):
    data: list[ListedDocument]
    has_more: bool
    last_id: str | None


class TextAppended(BaseModel):
    object: Literal["text.appended"] = "text.appended"
    session: str
    accepted_bytes: int
    read_bytes: int
    replayed: bool


class TextRange(BaseModel):
    """`bytes` of the text from `offset` on, as they were sent, all of one document or of none."""

    object: Literal["text.range"] = "text.range"
    session: str
    offset: int
    bytes: int
    document: str | None
    text: str


class Usage(BaseModel):
    """`prompt_tokens` were computed for this question; `memory_tokens` are those that the memory covers."""

    prompt_tokens: int
    completion_tokens: int
    memory_tokens: int


class MemoryUsed(BaseModel):
    version: int
    offset: int
    restored_from: Literal["device", "host", "store"]
    restore_seconds: float


class TokenScore(BaseModel):
    """A token of the answer, and its log-probability before temperature, top_k and top_p."""

    token: str
    logprob: float


class AnswerSource(BaseModel):
    """A place of the text that an answer was drawn from, in bytes as they were sent; a higher score is better."""

    offset: int
    bytes: int
    document: str | None = None
    text: str
    score: float


class AnswerPart(BaseModel):
    """One of several answers; `logprobs` is absent unless requested.

    `found` says whether the text has the answer, null where the model's memory cannot tell; `sources` come best first.
    """

    answer: str
    finish_reason: Literal["stop", "length"]
    found: bool | None
    sources: list[AnswerSource]
    logprobs: list[TokenScore] | None = Field(None, exclude_if=lambda scores: scores is None)
    usage: Usage


class Answered(BaseModel):
    object: Literal["answer"] = "answer"
    session: str


class AnswerOne(AnswerPart, Answered):
    memory: MemoryUsed


class AnswerMany(Answered):
    answers: list[AnswerPart]
    usage: Usage
    memory: MemoryUsed


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """RFC 9457's problem with OpenAI's error inside; some codes add members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    error: ErrorDetail
