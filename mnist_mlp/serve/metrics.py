"""The metrics that Prometheus reads at /metrics."""

from __future__ import annotations

import functools

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server, in their own registry."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter("mnist_requests", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "mnist_request_seconds", "Seconds from the head of a request to the end of its response.", ("route",),
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge("mnist_requests_in_flight", "Requests being answered.", registry=registry)
        self.batches = Histogram(
            "mnist_batch_images", "Images per call of the network.", buckets=SIZES, registry=registry
        )
        self.images = Counter("mnist_images", "Images that the network has predicted.", registry=registry)
        self.connections = Gauge("mnist_connections", "Open connections.", registry=registry)
        self.waiting = Gauge("mnist_images_waiting", "Images queued for the network.", registry=registry)
        self.counter = functools.cache(self.requests.labels)  # there are few routes and statuses
        self.histogram = functools.cache(self.seconds.labels)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.counter(route, status).inc()
        self.histogram(route).observe(seconds)

    def batch(self, size: int) -> None:
        """Count a call of the network with `size` images."""
        self.batches.observe(size)
        self.images.inc(size)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
