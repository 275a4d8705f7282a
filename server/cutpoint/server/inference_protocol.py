"""Messages of the Open Inference Protocol, version 2 (REST, with Triton's binary tensors). No I/O.

https://github.com/kserve/open-inference-protocol, and the extension "binary tensor data" of the Triton server: a JSON
header, whose length an HTTP header says, and the values of the tensors behind it, little endian, in C order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import msgspec
import numpy as np

from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.errors import BadRequest

__all__ = ["InferAnswer", "InferRequest", "datatype", "describe", "encode_answer", "parse_request"]

#: The protocol's names of element types.
_DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def datatype(dtype: str) -> str:
    """The protocol's name of an element type."""
    return _DATATYPES[dtype]


def describe(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Tensors, as a model's metadata has them."""
    return [{"name": spec.name, "datatype": datatype(spec.dtype), "shape": list(spec.shape)} for spec in specs]


_Size = Annotated[int, msgspec.Meta(ge=0)]


class _InputParameters(msgspec.Struct, frozen=True):
    binary_data_size: _Size | None = None


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[_Size, ...]
    datatype: str
    parameters: _InputParameters = _InputParameters()
    data: list[Any] | None = None


class _OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str = ""


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _Parameters(msgspec.Struct, frozen=True):
    binary_data_output: bool = False
    timeout: _Size = 0


class _Request(msgspec.Struct, frozen=True):
    inputs: tuple[_Input, ...]
    id: str = ""
    outputs: tuple[_Output, ...] = ()
    parameters: _Parameters = _Parameters()


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks.

    Attributes:
        id: for the answer; empty for none.
        tensors: in the order of the model's inputs.
        outputs: names of those that are wanted, and whether as binary data.
        budget: seconds until the answer is of no use; 0 for no limit.
    """

    id: str
    tensors: tuple[Array, ...]
    outputs: Mapping[str, bool]
    budget: float


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """The body of an answer; `header_length` is the length of its JSON, None where that is all of it."""

    body: bytes
    header_length: int | None


def parse_request(
    body: bytes, header_length: int | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    """What the body of a request says.

    Args:
        body: of the HTTP request.
        header_length: bytes of it that are JSON; None for all.
        inputs: of the model.
        outputs: of the model.

    Raises:
        BadRequest: if it is not a request for that model.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise BadRequest(f"a JSON header of {header_length} bytes in a body of {len(body)}")
    view = memoryview(body)
    end = len(body) if header_length is None else header_length
    try:
        request = msgspec.json.decode(view[:end], type=_Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not an inference request: {error}") from error
    given = dict(_tensors(request.inputs, view[end:], {spec.name: spec for spec in inputs}))
    missing = [spec.name for spec in inputs if spec.name not in given]
    if missing:
        raise BadRequest(f"input {missing[0]!r} is missing")
    binary = request.parameters.binary_data_output
    wanted = {spec.name: binary for spec in outputs}
    if request.outputs:
        wanted = {output.name: _wants_binary(output, wanted, binary) for output in request.outputs}
    tensors = tuple(given[spec.name] for spec in inputs)
    return InferRequest(request.id, tensors, wanted, request.parameters.timeout / 1e6)


def _wants_binary(output: _Output, known: Mapping[str, bool], default: bool) -> bool:
    if output.name not in known:
        raise BadRequest(f"there is no output {output.name!r}; there are {', '.join(known)}")
    if output.parameters.classification or output.parameters.shared_memory_region:
        raise BadRequest("classification and shared memory are not offered here")
    binary = output.parameters.binary_data
    return default if binary is None else binary


def _tensors(
    inputs: Sequence[_Input], binary: memoryview, specs: Mapping[str, TensorSpec]
) -> Iterator[tuple[str, Array]]:
    offset = 0
    seen = set()
    for given in inputs:
        spec = specs.get(given.name)
        if spec is None:
            raise BadRequest(f"there is no input {given.name!r}; there are {', '.join(specs)}")
        if given.name in seen:
            raise BadRequest(f"input {given.name!r} is given twice")
        seen.add(given.name)
        expected = f"{datatype(spec.dtype)}{list(spec.shape)}"
        if given.datatype != datatype(spec.dtype) or given.shape != spec.shape:
            raise BadRequest(f"input {given.name!r} is {given.datatype}{list(given.shape)}, the model takes {expected}")
        size = given.parameters.binary_data_size
        if size is not None:
            if size != spec.nbytes or offset + size > len(binary):
                left = len(binary) - offset
                raise BadRequest(
                    f"input {given.name!r} has {spec.nbytes} bytes; {size} are announced, {left} are there"
                )
            values = np.frombuffer(binary, np.dtype(spec.dtype).newbyteorder("<"), prod(spec.shape), offset)
            offset += size
            yield given.name, values.astype(spec.dtype).reshape(spec.shape)
        else:
            yield given.name, _from_json(given, spec)
    if offset != len(binary):
        raise BadRequest(f"{len(binary) - offset} bytes behind the last tensor")


def _from_json(given: _Input, spec: TensorSpec) -> Array:
    if given.data is None:
        raise BadRequest(f"input {given.name!r} has neither data nor a binary_data_size")
    count = prod(spec.shape)
    try:
        # Through float64 or int64, which hold what JSON does: a number that does not fit is refused, not wrapped.
        wide = np.array(given.data)
        if wide.size != count or wide.dtype.kind not in "biuf":
            raise BadRequest(f"input {given.name!r} has {count} numbers; not so many, or something else, are there")
        if np.dtype(spec.dtype).kind != "f" and not np.array_equal(wide.astype(spec.dtype), wide):
            raise BadRequest(f"input {given.name!r}: not all numbers are {datatype(spec.dtype)}")
        with np.errstate(all="ignore"):
            return wide.astype(spec.dtype).reshape(spec.shape)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"input {given.name!r}: {error}") from error


def encode_answer(
    request: InferRequest, name: str, version: str, specs: Sequence[TensorSpec], tensors: Sequence[Array]
) -> InferAnswer:
    """The answer to `request`, with the outputs that it wants.

    Args:
        request: as it was parsed.
        name: of the model, as it was asked for.
        version: of the model.
        specs: the model's outputs.
        tensors: their values.
    """
    values = {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for output, wants_binary in request.outputs.items():
        tensor = values[output]
        told: dict[str, Any] = {"name": output, "datatype": datatype(tensor.dtype.name), "shape": list(tensor.shape)}
        if wants_binary:
            data = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).tobytes()
            told["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            told["data"] = tensor.reshape(-1).tolist()
        outputs.append(told)
    answer: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": outputs}
    if request.id:
        answer["id"] = request.id
    head = msgspec.json.encode(answer)
    return InferAnswer(b"".join([head, *binary]), len(head) if binary else None)
