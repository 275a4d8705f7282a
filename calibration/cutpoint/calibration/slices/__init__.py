"""Slices: a span that computes some rows of its end, from the rows of its start that these need (docs/overlap.md)."""

from cutpoint.calibration.slices.export import SpanSlice, slice_span
from cutpoint.calibration.slices.halo import Halo, trace_halo
from cutpoint.calibration.slices.local import LocalPrefix, find_local_prefix
from cutpoint.calibration.slices.rows import Rows, Window, even_rows

__all__ = [
    "Halo",
    "LocalPrefix",
    "Rows",
    "SpanSlice",
    "Window",
    "even_rows",
    "find_local_prefix",
    "slice_span",
    "trace_halo",
]
