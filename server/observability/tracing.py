"""Traces: sent to an OpenTelemetry collector where one is named; else there are none, and nothing is kept.

It knows spans, and nothing of what they stand for; their attributes are counts and offsets, never text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, StatusCode

from server.version import VERSION

# A collector that does not answer must not hold up the server's end.
EXPORT_SECONDS = 5.0


class Tracing:
    """The sending of spans; where none is wanted the library's own calls do nothing."""

    def __init__(self, url: str | None) -> None:
        self._provider = None
        if url is None:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import Span as RecordedSpan
            from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ValueError(
                f"ONCEREAD_TRACES_URL is set and {error.name} is not installed; install the server with its extra "
                "`tracing` (pip install '.[tracing]'), or leave the setting out"
            ) from None

        class WithoutQuery(SpanProcessor):
            """Takes out what stands behind a path: it is the client's to choose, and may be anything."""

            def on_start(self, span: RecordedSpan, parent_context: object = None) -> None:
                if span.attributes and "url.query" in span.attributes:
                    span.set_attribute("url.query", "REDACTED")

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "onceread", "service.version": VERSION})
        )
        self._provider.add_span_processor(WithoutQuery())
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=EXPORT_SECONDS)))
        trace.set_tracer_provider(self._provider)

    def close(self) -> None:
        """Sends what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def start(name: str) -> Span:
    """A span below the request's, if this is done for one, until it is ended."""
    # Not made the current one: what generators do between two of their values is not below it.
    return trace.get_tracer("onceread", VERSION).start_span(name)


@contextmanager
def span(name: str) -> Iterator[Span]:
    """A span around a block; of a failure it says the kind and not the words."""
    started = start(name)
    try:
        yield started
    except Exception as error:
        started.set_status(StatusCode.ERROR)
        started.set_attribute("error.type", type(error).__qualname__)
        raise
    finally:
        started.end()


def carried() -> Mapping[str, str]:
    """The headers that tell somebody else which trace this is part of; none where there is none."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
