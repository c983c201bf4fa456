"""Request and response bodies of OpenAI's routes; unknown fields are ignored, as clients of these routes expect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from server.http.schemas import SOURCES, AnswerSource, SessionId, SourcesCount, StopString

NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(Lenient):
    type: Literal["text"]
    text: str


class Message(Lenient):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(Lenient):
    include_usage: bool = False


class Wanted(Lenient):
    """Fields that both routes take; the default temperature is 0, greedy decoding."""

    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=10, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    stop: list[StopString] = Field(default_factory=list, max_length=16)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=1, description="Only one choice is supported")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    session_id: SessionId | None = None
    remember: bool = False

    @field_validator("stop", mode="before")
    @classmethod
    def one_or_several(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value


class ChatRequest(Wanted):
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=0)
    sources: SourcesCount = SOURCES

    @model_validator(mode="after")
    def has_a_question(self) -> Self:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages: the last user message is the question; add one")
        return self


class CompletionRequest(Wanted):
    prompt: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=1)]
    max_tokens: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=5)

    @property
    def text(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class OpenAIUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "onceread"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ChatLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[Any]


class ChatLogprobs(BaseModel):
    content: list[ChatLogprob]


class UrlCitation(BaseModel):
    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A source in the one form that OpenAI's clients have for a citation; `source` is an extension."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation
    source: AnswerSource


class ChatAnswer(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    annotations: list[Annotation]


class ChatChoice(BaseModel):
    index: int = 0
    message: ChatAnswer
    logprobs: ChatLogprobs | None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: OpenAIUsage


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: None = None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int = 0
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: OpenAIUsage | None = None
