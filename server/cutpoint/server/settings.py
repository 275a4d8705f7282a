"""What an operator can set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cutpoint.sdk.bundle import check_keys
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.protocol import Limits
from cutpoint.server.nodes.planner import MOST_NODES
from cutpoint.server.nodes.roster import Rule

__all__ = ["LogFormat", "LoopName", "SettingError", "Settings"]

LoopName = Literal["auto", "asyncio", "uvloop"]
LogFormat = Literal["text", "json"]

#: Clients measure the link with pings of some packets, which must fit.
_LEAST_FRAME = 16384
_AT_LEAST_ONE = (
    "threads",
    "max_connections",
    "max_in_flight",
    "max_queue",
    "max_batch",
    "op_threads",
    "replicas",
)
_OF_UPSTREAM = ("upstream_token_file", "upstream_ca")
_OF_PEERS = ("peer_token_file", "peer_ca")
_SECONDS = ("models_interval", "reload_interval", "hello_timeout", "idle_timeout", "http_timeout")


class SettingError(InputError):
    """A setting cannot be used. `name` is the setting's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name} {message}")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set. The text beside a field's type is its help, also that of ``cutpoint serve``.

    Raises:
        SettingError: for values that cannot be used.
    """

    host: Annotated[str, "Address to listen on; 0.0.0.0 for all."] = "127.0.0.1"
    port: Annotated[int, "0 for any free port."] = 8700
    loop: Annotated[LoopName, "Event loop; auto: uvloop, which is faster, where it is installed."] = "auto"
    threads: Annotated[int, "Worker threads for tails; each computes one batch at a time."] = os.cpu_count() or 1
    engine: Annotated[
        Literal["auto", "local", "process", "ray"],
        "What computes: threads of this process (local) or of one of its own (process), or replicas on a Ray cluster; "
        "auto: process for this command, local for a program that embeds the server.",
    ] = "auto"
    providers: Annotated[tuple[str, ...], "Of onnxruntime, best first: cpu, cuda, tensorrt."] = ("cpu",)
    op_threads: Annotated[int, "Threads within one batch."] = 1
    arena: Annotated[bool, "Whether onnxruntime keeps memory between batches."] = True
    slowdown: Annotated[float, "Emulates a server so many times slower, by waiting; for experiments."] = 1.0
    ray_address: Annotated[str | None, "Of a Ray cluster; without it, one is started here."] = None
    replicas: Annotated[int, "Processes on the Ray cluster, with so many threads each."] = 1
    max_replicas: Annotated[int | None, "Up to so many while requests wait; as many as replicas if not given."] = None

    models: Annotated[Path | None, "Serve what is in this folder, as it comes and goes."] = None
    models_interval: Annotated[float, "Seconds between looks at that folder."] = 1.0
    model_grace: Annotated[float, "Seconds for those who hold a replaced bundle."] = 60.0

    tier: Annotated[str, "Name of this server in the timings of results; the host's if not given."] = ""
    upstream: Annotated[str | None, "Address of the next tier, ws://… or wss://…: requests may be passed on."] = None
    upstream_token_file: Annotated[Path | None, "File with the bearer token for the next tier."] = None
    upstream_ca: Annotated[Path | None, "Certificates (PEM) that the next tier's may be signed with."] = None
    upstream_drop: Annotated[float, "Task metric, 0 to 1, that passing on may cost beside the request's point."] = 0.0
    max_hops: Annotated[int, "Tiers that a request may have passed when it arrives."] = 4
    spans: Annotated[bool, "Load the spans between cuts as well, for requests that name where to stop."] = False

    peer: Annotated[tuple[str, ...], "Address of a node that shares the work, ws://… or wss://…; one or several."] = ()
    peer_token_file: Annotated[Path | None, "File with the bearer token for those nodes."] = None
    peer_ca: Annotated[Path | None, "Certificates (PEM) that those nodes' may be signed with."] = None
    peer_rule: Annotated[Rule, "What nodes are chosen for; amp4ec is a baseline to compare with."] = "latency"

    trusted_keys: Annotated[tuple[str, ...], "Serve only bundles that are signed with one of these keys."] = ()

    token_file: Annotated[Path | None, "Accepted bearer tokens: one a line, or .toml with scopes and limits."] = None
    tls_cert: Annotated[Path | None, "Certificate chain (PEM); with the key, the server speaks TLS."] = None
    tls_key: Annotated[Path | None, "Private key (PEM)."] = None
    tls_client_ca: Annotated[Path | None, "Certificates (PEM) of which clients must show one that is signed."] = None
    reload_interval: Annotated[float, "Seconds between looks whether tokens or certificates have changed."] = 2.0

    max_connections: Annotated[int, "WebSocket connections at a time."] = 1000
    max_connections_per_address: Annotated[
        int | None, "Of them from one address, or one IPv6 /64; half of max_connections if not given."
    ] = None
    max_frame: Annotated[int, "Bytes of the longest frame."] = Limits().frame
    max_in_flight: Annotated[int, "Requests at a time per connection."] = Limits().in_flight
    max_queue: Annotated[int, "Requests that may wait for a worker; more are refused as overloaded."] = 256
    max_batch: Annotated[int, "Requests computed together at most; 1: none."] = 16
    batch_window: Annotated[float, "Seconds that a batch which could be larger waits for more."] = 0.0

    hello_timeout: Annotated[float, "Seconds for a TLS handshake, for a request's headers, and for a hello."] = 10.0
    idle_timeout: Annotated[float, "Seconds without a whole message after which a connection is closed."] = 600.0
    http_timeout: Annotated[float, "Seconds for an HTTP request and its answer."] = 300.0
    grace: Annotated[float, "Seconds for requests in flight when told to stop."] = 10.0

    log_format: Annotated[LogFormat, "How to write the log."] = "text"
    tracing: Annotated[Literal["off", "otlp"], "Send spans of requests, as the variables OTEL_… say."] = "off"

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise SettingError(name, f"must be at least 1, not {getattr(self, name)}")
        if self.connections_per_address < 1:
            raise SettingError("max_connections_per_address", f"must be at least 1, not {self.connections_per_address}")
        for name in _SECONDS:
            if not getattr(self, name) > 0:
                raise SettingError(name, f"must be more than 0 seconds, not {getattr(self, name)}")
        try:
            check_keys(self.trusted_keys)
        except InputError as error:
            raise SettingError("trusted_keys", f"cannot be used: {error}") from error
        if (self.tls_cert is None) != (self.tls_key is None):
            there, lacking = ("tls_key", "tls_cert") if self.tls_cert is None else ("tls_cert", "tls_key")
            raise SettingError(there, f"needs {lacking}, too")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise SettingError("tls_client_ca", "needs tls_cert and tls_key: without TLS there are no certificates")
        if self.max_frame < _LEAST_FRAME:
            raise SettingError(
                "max_frame", f"of {self.max_frame} bytes is too short for probes: at least {_LEAST_FRAME}"
            )
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise SettingError("max_replicas", f"is {self.max_replicas}, less than replicas, {self.replicas}")
        if not self.slowdown >= 1 or (self.slowdown > 1 and self.engine == "ray"):
            raise SettingError("slowdown", f"is at least 1, and of no use with engine ray, not {self.slowdown}")
        if not 0 <= self.batch_window <= 1:
            raise SettingError("batch_window", f"is in seconds, between 0 and 1, not {self.batch_window}")
        if self.upstream is not None and not self.upstream.startswith(("ws://", "wss://")):
            raise SettingError("upstream", f"is a server's address, ws://… or wss://…, not {self.upstream!r}")
        if self.upstream is None and (alone := [n for n in _OF_UPSTREAM if getattr(self, n) is not None]):
            raise SettingError(alone[0], "is of use with upstream only")
        for address in self.peer:
            if not address.startswith(("ws://", "wss://")):
                raise SettingError("peer", f"is a server's address, ws://… or wss://…, not {address!r}")
        if not self.peer and (alone := [n for n in _OF_PEERS if getattr(self, n) is not None]):
            raise SettingError(alone[0], "is of use with peer only")
        if len(self.peer) >= MOST_NODES:
            raise SettingError("peer", f"names {len(self.peer)} nodes; a group has at most {MOST_NODES}")
        if not 0 <= self.upstream_drop <= 1:
            raise SettingError("upstream_drop", f"is a task metric, between 0 and 1, not {self.upstream_drop}")
        if not 0 <= self.max_hops < 255:
            raise SettingError("max_hops", f"is between 0 and 254, not {self.max_hops}")
        if not 0 <= self.port < 65536:
            raise SettingError("port", f"is between 0 and 65535, not {self.port}")
        if self.grace < 0 or self.model_grace < 0:
            raise SettingError("grace" if self.grace < 0 else "model_grace", "cannot be negative")

    @property
    def middle(self) -> bool:
        """Whether the server runs spans that do not end at the outputs."""
        return self.spans or self.upstream is not None or bool(self.peer)

    @property
    def connections_per_address(self) -> int:
        """Connections at a time from one address. Without a setting, no address can keep all others out."""
        given = self.max_connections_per_address
        return given if given is not None else -(-self.max_connections // 2)

    @property
    def limits(self) -> Limits:
        """Of one connection, as clients are told."""
        return Limits(self.max_frame, self.max_in_flight)
