"""The server's metrics, in Prometheus' text format.

It counts, and knows nothing of what it counts; no session or tenant is ever a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Telemetry:
    """One set of metrics for one application."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.running = Gauge("onceread_num_requests_running", "Work in the engine.", ["phase"], registry=registry)
        self.waiting = Gauge("onceread_num_requests_waiting", "Work queued.", ["phase"], registry=registry)
        self.behind_bytes = Gauge("onceread_unread_bytes", "Accepted text not yet read.", registry=registry)
        self.first_token_seconds = Histogram(
            "onceread_time_to_first_token_seconds",
            "From a question's arrival to its first token.",
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "onceread_e2e_request_latency_seconds",
            "Requests by phase.",
            ["phase"],
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.step_seconds = Histogram(
            "onceread_step_seconds", "Steps of the engine.", buckets=_LATENCY_SECONDS, registry=registry
        )
        self.read_tokens = Counter("onceread_read_tokens_total", "Tokens read.", registry=registry)
        self.generation_tokens = Counter("onceread_generation_tokens_total", "Tokens written.", registry=registry)
        self.sessions = Gauge("onceread_sessions", "Sessions at hand.", ["tier"], registry=registry)
        self.memory_bytes = Gauge("onceread_memory_bytes", "Memories at hand.", ["tier"], registry=registry)
        self.memory_load_seconds = Histogram(
            "onceread_memory_load_seconds",
            "Restoring a memory.",
            ["source"],
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "onceread_checkpoint_seconds", "Storing a memory.", buckets=_LATENCY_SECONDS, registry=registry
        )
        self.store_up = Gauge("onceread_store_up", "Whether the store can be used.", registry=registry)
        self.store_errors = Counter("onceread_store_errors_total", "Failures of the store.", ["op"], registry=registry)
        self.text_rolled_back = Counter(
            "onceread_text_rolled_back_total", "Receipts for text that the store has lost.", registry=registry
        )
        self.rejected = Counter("onceread_requests_rejected_total", "Requests refused.", ["reason"], registry=registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
