"""Helpers for tests and demonstrations, public like the rest: a bad link, a server process, traces."""

from cutpoint.sdk.testing.emulator import LinkEmulator
from cutpoint.sdk.testing.process import ServerProcess
from cutpoint.sdk.testing.recorded import load_trace
from cutpoint.sdk.testing.slow import SlowRuntime
from cutpoint.sdk.testing.traces import Shaper, Trace
from cutpoint.sdk.testing.virtual import VirtualLoop

__all__ = ["LinkEmulator", "ServerProcess", "Shaper", "SlowRuntime", "Trace", "VirtualLoop", "load_trace"]
