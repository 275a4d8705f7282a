"""Messages of the Open Inference Protocol, without a server."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.codecs import DTYPES, TensorSpec
from cutpoint.sdk.errors import BadRequest
from cutpoint.server.inference_protocol import datatype, encode_answer, parse_request

INPUTS = (TensorSpec("a", (1, 2), "float32"), TensorSpec("b", (3,), "uint8"))
OUTPUTS = (TensorSpec("x", (1, 2), "int64"), TensorSpec("y", (1,), "float16"))
A, B = np.array([[1.5, -2]], np.float32), np.array([0, 7, 255], np.uint8)


def one(name: str, tensor: np.ndarray, binary: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "datatype": datatype(tensor.dtype.name)}
    return about | ({"parameters": {"binary_data_size": tensor.nbytes}} if binary else {"data": tensor.tolist()})


def message(binary_a: bool = True, binary_b: bool = True, **more: object) -> tuple[bytes, int | None]:
    head = json.dumps({"inputs": [one("b", B, binary_b), one("a", A, binary_a)]} | more).encode()
    tail = (B.tobytes() if binary_b else b"") + (A.tobytes() if binary_a else b"")
    return head + tail, len(head) if tail else None


@pytest.mark.parametrize("binary_a", [True, False])
@pytest.mark.parametrize("binary_b", [True, False])
def test_tensors_in_both_forms(binary_a: bool, binary_b: bool) -> None:
    body, length = message(binary_a, binary_b, id="seven", parameters={"timeout": 2_500_000, "unknown": [1]})
    request = parse_request(body, length, INPUTS, OUTPUTS)
    for tensor, expected in zip(request.tensors, (A, B), strict=True):
        assert tensor.dtype == expected.dtype
        np.testing.assert_array_equal(tensor, expected)
    assert (request.id, request.budget, dict(request.outputs)) == ("seven", 2.5, {"x": False, "y": False})


def test_which_outputs_and_how() -> None:
    wanted = [{"name": "y", "parameters": {"binary_data": True}}, {"name": "x"}]
    body, length = message(outputs=wanted)
    request = parse_request(body, length, INPUTS, OUTPUTS)
    assert dict(request.outputs) == {"y": True, "x": False}
    body, length = message(parameters={"binary_data_output": True})
    assert dict(parse_request(body, length, INPUTS, OUTPUTS).outputs) == {"x": True, "y": True}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda m: m | {"inputs": m["inputs"][:1]}, "'a' is missing"),
        (lambda m: m | {"inputs": m["inputs"] * 2}, "given twice"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"name": "c"}]}, "no input 'c'"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"datatype": "FP64"}]}, "the model takes UINT8"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"shape": [1, 3]}]}, "the model takes UINT8"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"shape": [-3]}]}, "not an inference request"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"data": [1, 2]}]}, "3 numbers"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"data": [1, [2], 3]}]}, "'b'"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"data": ["1", "2", "3"]}]}, "3 numbers"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"data": [1, 2, 256]}]}, "not all numbers are UINT8"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"data": [1, 2, 0.5]}]}, "not all numbers are UINT8"),
        (lambda m: m | {"inputs": [{k: v for k, v in m["inputs"][0].items() if k != "data"}]}, "neither data nor"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"parameters": {"binary_data_size": 4}}]}, "4 are announced"),
        (lambda m: m | {"inputs": [m["inputs"][0] | {"parameters": {"binary_data_size": 3}}]}, "0 are there"),
        (lambda m: m | {"outputs": [{"name": "z"}]}, "no output 'z'"),
        (lambda m: m | {"outputs": [{"name": "x", "parameters": {"classification": 3}}]}, "not offered"),
        (lambda m: {"id": "x"}, "not an inference request"),
    ],
)
def test_what_is_no_request_for_the_model(damage: Any, said: str) -> None:
    body, _ = message(False, False)
    with pytest.raises(BadRequest, match=said):
        parse_request(json.dumps(damage(json.loads(body))).encode(), None, INPUTS, OUTPUTS)


def test_lengths_that_do_not_go_together() -> None:
    body, length = message()
    assert length is not None
    for bad in (length + 1, length - 1, len(body) + 1, -1, 0):
        with pytest.raises(BadRequest):
            parse_request(body, bad, INPUTS, OUTPUTS)
    with pytest.raises(BadRequest, match="1 bytes behind"):
        parse_request(body + b"x", length, INPUTS, OUTPUTS)
    with pytest.raises(BadRequest, match="7 are there"):
        parse_request(body[:-1], length, INPUTS, OUTPUTS)


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 300)))
def test_any_bytes_are_a_request_or_refused(data: bytes, length: int | None) -> None:
    with pytest.raises(BadRequest):
        parse_request(data, length, INPUTS, OUTPUTS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["name", "shape", "datatype", "data", "parameters", "binary_data_size", "outputs", "id"]),
    _JSON,
    st.binary(max_size=12),
    st.booleans(),
)
def test_any_value_in_any_place_is_taken_or_refused(place: str, value: Any, tail: bytes, binary: bool) -> None:
    given = one("b", B, binary)
    whole: dict[str, Any] = {"inputs": [given, one("a", A, False)]}
    if place == "binary_data_size":
        given["parameters"] = {place: value}
    elif place in ("outputs", "id"):
        whole[place] = value
    else:
        given[place] = value
    head = json.dumps(whole).encode()
    try:
        request = parse_request(head + tail, len(head), INPUTS, OUTPUTS)
    except BadRequest:
        return
    for tensor, spec in zip(request.tensors, INPUTS, strict=True):
        assert (tensor.shape, tensor.dtype.name) == (spec.shape, spec.dtype)


@given(st.data())
def test_answers_hold_what_was_computed(data: st.DataObject) -> None:
    dtypes = data.draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3))
    specs = [TensorSpec(f"o{i}", (2, 2), dtype) for i, dtype in enumerate(dtypes)]
    tensors = [(np.arange(4).reshape(2, 2) % 2).astype(dtype) for dtype in dtypes]
    wanted = [{"name": spec.name, "parameters": {"binary_data": data.draw(st.booleans())}} for spec in specs]
    body, length = message(outputs=wanted, id="n")
    answer = encode_answer(parse_request(body, length, INPUTS, specs), "m", "v", specs, tensors)
    end = len(answer.body) if answer.header_length is None else answer.header_length
    told = json.loads(answer.body[:end])
    assert (told["model_name"], told["model_version"], told["id"]) == ("m", "v", "n")
    offset = end
    for output, spec, tensor in zip(told["outputs"], specs, tensors, strict=True):
        assert (output["name"], output["shape"], output["datatype"]) == (spec.name, [2, 2], datatype(spec.dtype))
        if "data" in output:
            np.testing.assert_array_equal(np.array(output["data"], spec.dtype).reshape(2, 2), tensor)
        else:
            size = output["parameters"]["binary_data_size"]
            values = np.frombuffer(answer.body, spec.dtype, offset=offset, count=4).reshape(2, 2)
            np.testing.assert_array_equal(values, tensor)
            offset += size
    assert offset == len(answer.body)
