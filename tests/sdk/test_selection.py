from pathlib import Path

import pytest
from tests.support.toy import two_format_bundle

from cutpoint.sdk.bundle import Bundle, Selection
from cutpoint.sdk.bundle.selection import needed_files, selections
from cutpoint.sdk.errors import BundleError

BUNDLE = two_format_bundle()
#: Both heads for LiteRT, which share weights.
TFLITE = {f"0-{end}.fp32.tflite{what}" for end in (1, 2) for what in ("", ".bin")}
TABLES = {"codecs/1-affine.enc.onnx", "codecs/1-affine.tables", "codecs/1-delta.tables"}


def heads(bundle: Bundle) -> set[str]:
    return {entry.path for entry in bundle.manifest.files if entry.path in bundle and entry.path.startswith("spans/")}


@pytest.mark.parametrize(
    ("runtime", "precision", "wanted"),
    [
        ("onnx", "", {"0-1.fp32.onnx", "0-2.fp32.onnx", "0-1.int8.onnx", "0-2.int8.onnx", "weights.int8.bin"}),
        ("onnx", "int8", {"0-1.int8.onnx", "0-2.int8.onnx", "weights.int8.bin"}),
        ("tflite", "", TFLITE),
        (
            "tflite,onnx",
            "",
            TFLITE | {"0-1.int8.onnx", "0-2.int8.onnx", "weights.int8.bin"},
        ),
        ("", "fp32", TFLITE | {"0-1.fp32.onnx", "0-2.fp32.onnx"}),
    ],
)
def test_a_device_gets_what_it_reads(runtime: str, precision: str, wanted: set[str], tmp_path: Path) -> None:
    part = BUNDLE.part("device", runtime=runtime, precision=precision)
    assert part.hash == BUNDLE.hash
    assert heads(part) == {f"spans/{name}" for name in wanted}
    part.save(tmp_path / "part.cutpoint")
    again = Bundle.open(tmp_path / "part.cutpoint")
    assert (again.parts, heads(again)) == (frozenset({"device"}), heads(part))
    assert "codecs/1-affine.tables" in again
    with pytest.raises(BundleError, match="belongs to the server part"):
        again.read("spans/1-2.fp32.onnx")


def test_encoders_come_in_the_runtimes_format_only() -> None:
    assert needed_files(BUNDLE.manifest, Selection(("onnx",))) >= TABLES
    # There is none for LiteRT: what it encodes at cut 1 is left to other codecs.
    assert needed_files(BUNDLE.manifest, Selection(("tflite",))) & TABLES == TABLES - {"codecs/1-affine.enc.onnx"}


def test_what_lies_between_is_damage(tmp_path: Path) -> None:
    for selection in selections(BUNDLE.manifest):
        try:
            needed_files(BUNDLE.manifest, selection)
        except BundleError:
            continue
        folder = tmp_path / f"part{selection}"
        BUNDLE.part("device", runtime=",".join(selection.formats), precision=selection.precision or "").save(folder)
        (folder / "codecs/1-affine.tables").unlink()
        with pytest.raises(BundleError, match="is missing"):
            Bundle.open(folder)


def test_a_part_of_a_part(tmp_path: Path) -> None:
    device = BUNDLE.part("device", runtime="onnx")
    assert heads(device.part("device", runtime="onnx", precision="int8")) < heads(device)
    assert heads(device.part("device")) == heads(device)
    with pytest.raises(BundleError, match=r"0-1\.fp32\.tflite is not in this bundle"):
        device.part("device", runtime="tflite")
    with pytest.raises(BundleError, match="server part is not in this bundle"):
        device.part("server")


def test_a_device_that_could_not_answer_alone_is_refused() -> None:
    with pytest.raises(BundleError, match="no tflite int8 file of the whole model"):
        BUNDLE.part("device", runtime="tflite", precision="int8")
    for runtime, precision in (("coreml", ""), ("onnx,onnx", ""), ("", "a/b")):
        with pytest.raises(BundleError, match=r"runtime|precision"):
            BUNDLE.part("device", runtime=runtime, precision=precision)
