"""The contract of `cutpoint.codecs.Codec`, which every family keeps."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cutpoint.calibration.codecs.entries import FittedCodec, fit_affine
from cutpoint.calibration.codecs.klt import design_klt, fit_klt
from cutpoint.calibration.codecs.streams import for_streams
from cutpoint.calibration.training.bottleneck import start_bottleneck
from cutpoint.calibration.training.distillation import Lesson, distil
from cutpoint.calibration.training.families import BOTTLENECK, SLIMMABLE, Family
from cutpoint.calibration.training.files import write_trained
from cutpoint.calibration.training.loop import Budget
from cutpoint.calibration.training.teacher import Teacher
from cutpoint.codecs import (
    Array,
    BitstreamError,
    Codec,
    CodecError,
    CodecParts,
    TensorSpec,
    Transform,
    codec_ids,
    create_codec,
)
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import create_runtime

Tensors = tuple[Array, ...]
PICTURE = (TensorSpec("picture", (1, 24, 32, 3), "uint8"),)
#: A map with an odd side, tokens with a class token, a vector, half precision.
FEATURES = (
    TensorSpec("map", (1, 6, 7, 10), "float32"),
    TensorSpec("tokens", (1, 10, 8), "float32"),
    TensorSpec("vector", (1, 5), "float32"),
    TensorSpec("half", (1, 3, 4, 4), "float16"),
)


def picture(seed: int) -> Tensors:
    """A soft gradient with some noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, 24 * 32).reshape(1, 24, 32, 1) + rng.integers(0, 50, (1, 24, 32, 3))
    return (ramp.astype(np.uint8),)


def features(seed: int) -> Tensors:
    """Correlated noise in every tensor."""
    rng = np.random.default_rng(seed)
    return tuple(
        (np.cumsum(rng.normal(0, 1, spec.shape), axis=-1) + rng.normal(1, 0.3, spec.shape)).astype(spec.dtype)
        for spec in FEATURES
    )


def _fitted(fit: Callable[..., FittedCodec]) -> CodecParts:
    made = fit(Boundary(1, FEATURES, "cut"), [features(seed) for seed in range(40)])
    runtime = create_runtime("onnx")

    def transform(path: str) -> Transform:
        graph = runtime.load(made.files[path][1], {})
        return lambda tensors, level: graph.run([*tensors, np.array(level, np.int64)])

    entry = made.entry
    assert entry.tables is not None
    return CodecParts(
        FEATURES,
        FEATURES,
        entry.levels,
        entry.symbols,
        entry.config,
        made.files[entry.tables][1],
        transform(entry.encoder[0].file),
        transform(entry.decoder[0].file),
    )


def _fit_delta(boundary: Boundary, samples: list[Tensors]) -> FittedCodec:
    neighbours = [tuple((t + np.asarray(0.05, t.dtype)) for t in sample) for sample in samples]
    return for_streams(fit_affine(boundary, samples), list(zip(samples, neighbours, strict=True)))


def _fit_trained(family: Family, boundary: Boundary, samples: list[Tensors]) -> FittedCodec:
    values = [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, ["N", *spec.shape[1:]]) for spec in FEATURES]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5])
    nodes = [helper.make_node("Relu", ["vector"], ["scores"])]
    tail = helper.make_model(helper.make_graph(nodes, "tail", values, [scores]))
    teacher = Teacher(tail, classes=False, batch=True, device=torch.device("cpu"))
    tensors = [torch.from_numpy(np.concatenate(values)).float() for values in zip(*samples, strict=True)]
    module = start_bottleneck(*design_klt(boundary, samples, None), family)
    curves = distil(module, teacher, Lesson(tensors, tensors, teacher(tensors)), Budget(2))
    return write_trained(boundary, boundary, module, tensors, curves)


def _quality() -> CodecParts:
    return CodecParts(PICTURE, PICTURE, ("low", "high"), config={"quality": [20, 90]})


#: Codec id → how to make its parts, and samples for it. A new family is entered here.
FAMILIES: dict[str, tuple[Callable[[], CodecParts], Callable[[int], Tensors]]] = {
    "raw": (lambda: CodecParts(FEATURES, FEATURES, ("fp16", "exact")), features),
    "jpeg": (_quality, picture),
    "webp": (_quality, picture),
    "affine": (lambda: _fitted(fit_affine), features),
    "klt": (lambda: _fitted(fit_klt), features),
    "bottleneck": (lambda: _fitted(partial(_fit_trained, BOTTLENECK)), features),
    "slimmable": (lambda: _fitted(partial(_fit_trained, SLIMMABLE)), features),
    "delta": (lambda: _fitted(_fit_delta), features),
}


@cache
def parts(codec_id: str) -> CodecParts:
    return FAMILIES[codec_id][0]()


@cache
def codec(codec_id: str) -> Codec:
    return create_codec(codec_id, parts(codec_id))


def sample(codec_id: str, seed: int = 100) -> Tensors:
    return FAMILIES[codec_id][1](seed)


every_family = pytest.mark.parametrize("name", sorted(FAMILIES))


def test_every_codec_is_here() -> None:
    assert set(codec_ids()) == set(FAMILIES)


@every_family
def test_tensors_come_back_as_described(name: str) -> None:
    for level in range(len(parts(name).levels)):
        back = codec(name).decode(codec(name).encode(sample(name), level), level)
        assert all(spec.accepts(tensor) for spec, tensor in zip(parts(name).target, back, strict=True))
        assert all(tensor.dtype.isnative for tensor in back)


def _rises(levels: tuple[str, ...]) -> list[slice]:
    """Levels of one width, among which more is more; all of them where there is but one."""
    widths = [level.split("-")[0] if level.startswith("w") else "" for level in levels]
    starts = [n for n, width in enumerate(widths) if not n or width != widths[n - 1]]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(levels)], strict=True)]


@every_family
def test_level_0_is_the_smallest_and_the_last_the_most_faithful(name: str) -> None:
    given = [sample(name, seed) for seed in range(100, 110)]
    sizes, errors = [], []
    for level in range(len(parts(name).levels)):
        payloads = [codec(name).encode(tensors, level) for tensors in given]
        sizes.append(sum(map(len, payloads)))
        errors.append(
            sum(
                float(np.abs(a.astype(np.float64) - b).mean())
                for payload, tensors in zip(payloads, given, strict=True)
                for a, b in zip(codec(name).decode(payload, level), tensors, strict=True)
            )
        )
    for rise in _rises(parts(name).levels):
        assert sizes[rise] == sorted(sizes[rise])
        assert errors[rise] == sorted(errors[rise], reverse=True)


@every_family
def test_a_memoryview_and_strided_tensors_do_as_well(name: str) -> None:
    tensors = sample(name)
    strided = tuple(np.repeat(tensor, 2, axis=-1)[..., ::2] for tensor in tensors)
    payload = codec(name).encode(tensors, 0)
    assert codec(name).encode(strided, 0) == payload
    for a, b in zip(codec(name).decode(payload, 0), codec(name).decode(memoryview(payload), 0), strict=True):
        np.testing.assert_array_equal(a, b)


@every_family
def test_foreign_byte_order_is_refused_or_understood(name: str) -> None:
    tensors = sample(name)
    swapped = tuple(tensor.astype(tensor.dtype.newbyteorder()) for tensor in tensors)
    try:
        payload = codec(name).encode(swapped, 0)
    except CodecError:
        return
    assert payload == codec(name).encode(tensors, 0)


@every_family
def test_no_other_levels(name: str) -> None:
    payload = codec(name).encode(sample(name), 0)
    for level in (-1, len(parts(name).levels), 1000):
        with pytest.raises(CodecError):
            codec(name).encode(sample(name), level)
        with pytest.raises(CodecError):
            codec(name).decode(payload, level)


@every_family
def test_the_same_from_every_thread(name: str) -> None:
    samples = [sample(name, seed) for seed in range(8)]
    level = len(parts(name).levels) - 1
    wanted = [codec(name).encode(tensors, level) for tensors in samples]
    decoded = [codec(name).decode(payload, level) for payload in wanted]
    failures: list[str] = []

    def work() -> None:
        for _ in range(3):
            for tensors, payload, values in zip(samples, wanted, decoded, strict=True):
                if codec(name).encode(tensors, level) != payload:
                    failures.append("encode")
                back = codec(name).decode(payload, level)
                if not all(np.array_equal(a, b) for a, b in zip(back, values, strict=True)):
                    failures.append("decode")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@every_family
def test_rebuilt_from_its_id_and_parts(name: str) -> None:
    other = create_codec(codec(name).codec_id, replace(parts(name)))
    assert type(other) is type(codec(name))
    for level in range(len(parts(name).levels)):
        payload = codec(name).encode(sample(name), level)
        assert other.encode(sample(name), level) == payload
        for a, b in zip(other.decode(payload, level), codec(name).decode(payload, level), strict=True):
            np.testing.assert_array_equal(a, b)


@every_family
@pytest.mark.parametrize("scale", [0, 1, 1e4])
def test_no_payload_beyond_the_cap(name: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    wild: Tensors = tuple(
        rng.integers(0, 256, spec.shape).astype(spec.dtype)
        if spec.dtype == "uint8"
        else np.clip(rng.normal(0, 1, spec.shape) * scale, -6e4, 6e4).astype(spec.dtype)
        for spec in parts(name).source
    )
    for level in range(len(parts(name).levels)):
        payload = codec(name).encode(wild, level)
        assert len(payload) <= codec(name).max_bytes()
        codec(name).decode(payload, level)


@every_family
def test_wrong_tensors_are_refused(name: str) -> None:
    tensors = sample(name)
    wrong: list[Tensors] = [
        (),
        (*tensors, tensors[0]),
        (tensors[0].astype(np.int64), *tensors[1:]),
        (tensors[0][..., :-1], *tensors[1:]),
        (np.concatenate([tensors[0]] * 2), *tensors[1:]),
        (tensors[0][0], *tensors[1:]),
    ]
    for given_ in wrong:
        with pytest.raises(CodecError):
            codec(name).encode(given_, 0)


def _tensors_or_bitstream_error(name: str, data: bytes, level: int) -> None:
    try:
        back = codec(name).decode(data, level)
    except BitstreamError:
        return
    assert all(spec.accepts(tensor) for spec, tensor in zip(parts(name).target, back, strict=True))


@every_family
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), last=st.booleans())
def test_any_bytes(name: str, data: bytes, last: bool) -> None:
    _tensors_or_bitstream_error(name, data, len(parts(name).levels) - 1 if last else 0)


@every_family
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    cut=st.floats(0, 1),
    more=st.binary(max_size=9),
    whole=st.booleans(),
)
def test_damaged_payloads(name: str, place: float, byte: int, cut: float, more: bytes, whole: bool) -> None:
    payload = bytearray(codec(name).encode(sample(name), 0))
    payload[int(place * len(payload))] = byte
    end = len(payload) if whole else int(cut * len(payload))
    _tensors_or_bitstream_error(name, bytes(payload[:end]) + more, 0)
