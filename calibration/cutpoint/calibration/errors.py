"""The exception of calibration, below `cutpoint.codecs.errors.CutpointError`.

CutpointError
 └── CalibrationError     a model, data folder or option that calibration cannot work with
"""

from __future__ import annotations

from cutpoint.codecs.errors import CutpointError

__all__ = ["CalibrationError"]


class CalibrationError(CutpointError):
    """A model, data folder or option that calibration cannot work with. The message names it and the remedy."""
