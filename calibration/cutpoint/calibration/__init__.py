"""Calibration: a model and pictures in, a bundle out.

`cutpoint.calibration.pipeline.run_calibration` does the work. It needs the packages of the extra ``calibrate``, so it
is imported from there and not from here.
"""

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.settings import Settings

__all__ = ["CalibrationError", "Settings"]
