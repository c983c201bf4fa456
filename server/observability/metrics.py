"""The server's metrics, in Prometheus' text format.

No label is ever a session or a tenant: their number has no bound.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PHASES = ("read", "answer")
_TOKEN_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_WORK_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# An answer may take minutes, and so may a text that is sent in one go.
_REQUEST_SECONDS = (*_WORK_SECONDS, 60, 120, 300, 600)


class Metrics:
    """One set of metrics for one application."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.running = Gauge(
            "onceread_num_requests_running",
            "Answers being decoded, and sessions being read.",
            ["phase"],
            registry=registry,
        )
        self.waiting = Gauge(
            "onceread_num_requests_waiting",
            "Questions queued for prefill, and sessions queued for reading.",
            ["phase"],
            registry=registry,
        )
        for gauge in (self.running, self.waiting):
            for phase in PHASES:
                gauge.labels(phase=phase)
        self.queued_tokens = Gauge(
            "onceread_queued_tokens",
            "Tokens of work accepted and not done: those of segments and prompts in the engine as they are, and unread "
            "text behind them as its bytes divided by the mean bytes per token of the resident sessions.",
            registry=registry,
        )
        self.behind_bytes = Gauge("onceread_unread_bytes", "Accepted text not yet read.", registry=registry)
        self.first_token_seconds = Histogram(
            "onceread_time_to_first_token_seconds",
            "Time to first token (TTFT): from a question's arrival to its first token.",
            buckets=(*_WORK_SECONDS, 60, 120),
            registry=registry,
        )
        self.inter_token_seconds = Histogram(
            "onceread_inter_token_latency_seconds",
            "Time per output token (TPOT): from one token of an answer to its next.",
            buckets=_TOKEN_SECONDS,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "onceread_e2e_request_latency_seconds",
            "Request latency from arrival to the end of the response, by phase.",
            ["phase"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.step_seconds = Histogram(
            "onceread_step_seconds", "Duration of an engine step.", buckets=_TOKEN_SECONDS, registry=registry
        )
        self.read_tokens = Counter("onceread_read_tokens_total", "Tokens read.", registry=registry)
        self.generation_tokens = Counter("onceread_generation_tokens_total", "Tokens generated.", registry=registry)
        self.sessions = Gauge("onceread_sessions", "Resident sessions.", ["tier"], registry=registry)
        self.memory_bytes = Gauge("onceread_memory_bytes", "Bytes of resident memories.", ["tier"], registry=registry)
        self.memory_load_seconds = Histogram(
            "onceread_memory_load_seconds",
            "Time to restore a memory, by source.",
            ["source"],
            buckets=_WORK_SECONDS,
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "onceread_checkpoint_seconds", "Time to store a checkpoint.", buckets=_WORK_SECONDS, registry=registry
        )
        self.checkpoint_bytes = Counter(
            "onceread_checkpoint_bytes_total",
            "Bytes of memories that were stored as checkpoints; a part that is stored already is not stored again.",
            registry=registry,
        )
        self.unstored_oldest_seconds = Gauge(
            "onceread_unstored_oldest_seconds",
            "Age of the oldest memory that is not yet stored; after a crash its text would be read again.",
            registry=registry,
        )
        self.checkpoints_refused = Counter(
            "onceread_checkpoints_refused_total",
            "Checkpoints that the store refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.store_up = Gauge(
            "onceread_store_up", "1 if the store answered the latest check, else 0.", registry=registry
        )
        self.store_errors = Counter(
            "onceread_store_errors_total", "Failed store calls, by call.", ["op"], registry=registry
        )
        self.text_rolled_back = Counter(
            "onceread_text_rolled_back_total",
            "Receipts for text that the store has lost.",
            registry=registry,
        )
        self.rejected = Counter(
            "onceread_requests_rejected_total",
            "Requests refused, by the code of the error.",
            ["reason"],
            registry=registry,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
