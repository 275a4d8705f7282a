"""What computes in a process of its own, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.runtimes import Runtime
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.server.settings import Settings
from cutpoint.server.tails import LoadedTails, Sample, load_tails, run_together

__all__ = ["Replica", "pack_bundle", "runtime_for"]


def runtime_for(settings: Settings) -> Runtime:
    """What loads the graphs of tails.

    Raises:
        RuntimeUnavailable: if an onnxruntime provider is not installed here.
    """
    from cutpoint.sdk.runtimes.onnx import OnnxRuntime
    from cutpoint.sdk.testing import SlowRuntime

    runtime: Runtime = OnnxRuntime(settings.op_threads, settings.providers, settings.arena)
    return SlowRuntime(runtime, settings.slowdown) if settings.slowdown > 1 else runtime


def pack_bundle(bundle: Bundle, settings: Settings) -> bytes:
    """What a replica loads of `bundle`: all that is there if it is to run spans of the middle, or encode."""
    return (bundle if settings.middle else bundle.part("server")).to_bytes()


class Replica:
    """Bundles that are loaded in this process.

    Args:
        settings: `op_threads`, `providers`, `arena`, `slowdown`, `middle`.

    Attributes:
        bundles: by hash.

    Raises:
        RuntimeUnavailable: as `runtime_for`.
    """

    def __init__(self, settings: Settings) -> None:
        self._runtime = runtime_for(settings)
        self._middle = settings.middle
        self._tails: dict[str, Tail] = {}
        self.bundles: dict[str, Bundle] = {}

    def load(self, data: bytes) -> LoadedTails:
        """Loads what `pack_bundle` made of a bundle. Raises as `Engine.load`."""
        bundle = Bundle.from_bytes(data)
        tail, loaded = load_tails(bundle, self._runtime, self._middle)
        self._tails[bundle.hash], self.bundles[bundle.hash] = tail, bundle
        return loaded

    def unload(self, bundle_hash: str) -> None:
        """Forgets a bundle, if it is here."""
        self._tails.pop(bundle_hash, None)
        self.bundles.pop(bundle_hash, None)

    def run(self, bundle_hash: str, samples: Sequence[Sample]) -> list[TailOutput | Exception]:
        """As `run_together`, with the tails of a bundle. Raises `KeyError` if it is not loaded."""
        return run_together(self._tails[bundle_hash], samples)
