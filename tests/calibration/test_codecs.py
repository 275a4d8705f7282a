import numpy as np

from cutpoint.calibration.codecs.entries import fit_affine, picture_codec, raw_codec
from cutpoint.codecs import CodecParts, TensorSpec, create_codec
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import create_runtime

BOUNDARY = Boundary(2, (TensorSpec("a", (1, 4, 6, 6), "float32"), TensorSpec("b", (1, 5, 8), "float32")))


def _samples(count: int) -> list[tuple[np.ndarray, ...]]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return [tuple(rng.laplace(size=spec.shape).astype(np.float32) for spec in BOUNDARY.tensors) for _ in range(count)]


def test_affine_of_several_tensors_goes_through_bytes() -> None:
    fitted = fit_affine(BOUNDARY, _samples(20))
    entry, files = fitted.entry, fitted.files
    assert {path: part for path, (part, _) in files.items()} == {
        "codecs/2-affine.enc.onnx": "device",
        "codecs/2-affine.dec.onnx": "server",
        "codecs/2-affine.tables": "both",
    }
    runtime = create_runtime("onnx")
    halves = [runtime.load(files[graph.file][1], {}) for graph in (*entry.encoder, *entry.decoder)]
    analysis, synthesis = (lambda tensors, level, half=half: half.run([*tensors, np.array(level)]) for half in halves)
    codec = create_codec(
        entry.codec,
        CodecParts(
            BOUNDARY.tensors,
            BOUNDARY.tensors,
            entry.levels,
            entry.symbols,
            tables=files["codecs/2-affine.tables"][1],
            analysis=analysis,
            synthesis=synthesis,
        ),
    )
    value = _samples(1)[0]
    sizes = []
    for level in range(3):
        data = codec.encode(value, level)
        sizes.append(len(data))
        for given, wanted in zip(codec.decode(data, level), value, strict=True):
            assert np.abs(given - wanted).mean() < 0.5 / 2 ** (2 * level)
    assert sizes == sorted(sizes)
    assert sizes[-1] < sum(spec.size for spec in BOUNDARY.tensors)


def test_raw_offers_half_precision_for_floats_only() -> None:
    assert raw_codec(BOUNDARY).entry.levels == ("fp16", "exact")
    assert raw_codec(Boundary(0, (TensorSpec("p", (1, 4, 4, 3), "uint8"),))).entry.levels == ("exact",)


def test_picture_codecs_start_at_the_lowest_quality() -> None:
    entry = picture_codec(Boundary(0, (TensorSpec("p", (1, 4, 4, 3), "uint8"),)), "webp").entry
    assert entry.id == "0-webp"
    assert entry.levels[0] == "q10"
    assert entry.config["quality"] == sorted(entry.config["quality"])
