"""What an operator can set."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.protocol import Limits

__all__ = ["Settings"]


DEFAULT_LIMITS = Limits()
#: Clients measure the link with pings of some packets, which must fit.
_LEAST_FRAME = 16384


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can set.

    Attributes:
        host: address to listen on.
        port: 0 for any free one.
        token_file: accepted bearer tokens, one a line; None to accept everyone.
        tls_cert: certificate chain (PEM); with `tls_key`, the server speaks TLS.
        tls_key: private key (PEM).
        threads: worker threads for tails, of a replica where there are several; each runs one batch at a time.
        engine: ``local``, or ``ray`` for replicas on a Ray cluster.
        providers: onnxruntime's, best first: ``cpu``, ``cuda``, ``tensorrt``.
        op_threads: threads within one batch.
        arena: whether onnxruntime keeps memory between batches.
        ray_address: of the cluster; None to start one on this machine.
        replicas: on the cluster, at least.
        max_replicas: on the cluster, at most, as requests wait.
        max_connections: WebSocket connections at a time.
        limits: of one connection.
        models: folder of bundles that is followed: what comes, changes and goes there is served or not any more.
        models_interval: seconds between looks at that folder.
        model_grace: seconds for which a bundle that was replaced or removed is still served to those who hold it.
        max_queue: requests that may wait for a worker; more are refused as overloaded.
        max_batch: requests that a tail computes together at most; how many it does depends on what they cost.
        batch_window: seconds that a batch which could be larger waits for further requests. With 0 no worker ever
            waits while there is something to do, and batches form while all are busy.
        hello_timeout: seconds a new connection has to say hello.
        grace: seconds that requests in flight get when the server is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    threads: int = 1
    engine: Literal["local", "ray"] = "local"
    providers: tuple[str, ...] = ("cpu",)
    op_threads: int = 1
    arena: bool = True
    ray_address: str | None = None
    replicas: int = 1
    max_replicas: int = 1
    max_connections: int = 1000
    limits: Limits = DEFAULT_LIMITS
    models: Path | None = None
    models_interval: float = 1.0
    model_grace: float = 60.0
    max_queue: int = 256
    max_batch: int = 16
    batch_window: float = 0.0
    hello_timeout: float = 10.0
    grace: float = 10.0

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InputError("TLS needs both a certificate and a key")
        for name in ("threads", "max_connections", "max_queue", "max_batch", "op_threads", "replicas"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.limits.frame < _LEAST_FRAME:
            raise InputError(
                f"a frame limit of {self.limits.frame} bytes is too short for probes: at least {_LEAST_FRAME}"
            )
        if self.max_replicas < self.replicas:
            raise InputError(f"max_replicas {self.max_replicas} is less than replicas, {self.replicas}")
        if not 0 <= self.batch_window <= 1:
            raise InputError(f"batch_window is in seconds, between 0 and 1, not {self.batch_window}")
        if not 0 <= self.port < 65536:
            raise InputError(f"port {self.port} is not between 0 and 65535")

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context; None without TLS. Raises `InputError` if certificate or key cannot be used."""
        if self.tls_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"TLS certificate {self.tls_cert} and key {self.tls_key}: {error}") from error
        return context
