"""Calibrates the demo's network on freshly rendered scenes and writes the bundle that ships with cutpoint.

    python examples/make_bundle.py

The pictures have seeds that neither training nor the demo uses.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from cutpoint.demo.scenes import write_folder

HERE = Path(__file__).parent
OUT = HERE / "cutpoint" / "demo" / "scenes.cutpoint"

#: Seeds: the network was trained below 2**30, the demo begins at 2**31.
CALIBRATION_SEED, CODECS_SEED, EVALUATION_SEED = 2**30, 2**30 + 2**19, 2**30 + 2**20
CALIBRATION_PICTURES, CODECS_PICTURES, EVALUATION_PICTURES = 200, 600, 400
#: Steps of training for each trained codec.
STEPS = 800


def main() -> int:
    """Renders, calibrates, and returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        calibration, codecs, evaluation = (Path(folder, name) for name in ("calibration", "codecs", "evaluation"))
        write_folder(calibration, CALIBRATION_PICTURES, CALIBRATION_SEED)
        write_folder(codecs, CODECS_PICTURES, CODECS_SEED)
        write_folder(evaluation, EVALUATION_PICTURES, EVALUATION_SEED)
        command = [sys.executable, "-m", "cutpoint.sdk", "calibrate", str(HERE / "scenes.onnx")]
        command += [
            "--data",
            str(calibration),
            "--evaluation",
            str(evaluation),
            "--out",
            str(OUT),
            "--overwrite",
            "--keep-all",
        ]
        command += ["--calibration-samples", str(CALIBRATION_PICTURES), "--samples", str(EVALUATION_PICTURES)]
        command += ["--codecs", "raw,jpeg,webp,affine,klt,bottleneck,slimmable"]
        command += ["--train-cuts", "1", "--train-data", str(codecs), "--train-steps", str(STEPS)]
        command += ["--resize", "256", "--size", "224", "--scale", "1", "--mean", "127.5", "--std", "127.5"]
        command += ["--labels", str(calibration / "classes.txt"), "--name", "scenes", "--streams"]
        return subprocess.run([*command, *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
