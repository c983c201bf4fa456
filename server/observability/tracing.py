"""Traces, exported to an OpenTelemetry collector if one is configured; attributes are counts and offsets, no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, StatusCode

from server import VERSION

# A collector that does not answer must not delay the shutdown.
EXPORT_SECONDS = 5.0


class Tracing:
    """The exporter of spans; without a URL OpenTelemetry's calls do nothing."""

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
            """Redacts the URL's query: clients choose it, so it may contain anything."""

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
        """Exports the remaining spans."""
        if self._provider is not None:
            self._provider.shutdown()


def start(name: str) -> Span:
    """A span, below the current request's if there is one; the caller ends it."""
    # Not the current span: a generator's caller runs between its values, and is not part of it.
    return trace.get_tracer("onceread", VERSION).start_span(name)


@contextmanager
def span(name: str) -> Iterator[Span]:
    """A span around a block; a failure is recorded by its type, not its text."""
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
    """The headers that propagate the current trace; empty without one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
