"""`python -m cutpoint.calibration`: the same as `cutpoint calibrate`."""

from __future__ import annotations

from cutpoint.calibration.cli import calibrate

if __name__ == "__main__":
    calibrate(prog_name="cutpoint calibrate")
