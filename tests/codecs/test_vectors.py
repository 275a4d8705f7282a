"""The golden vectors bind every implementation to docs/bitstream.md."""

from __future__ import annotations

import numpy as np
import pytest
from tests.codecs.coders import NAMES, implementation
from tests.vectors import vectors

from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import BitstreamError

VECTORS = vectors.names()


def test_there_are_vectors_of_every_kind() -> None:
    accepted = [name for name in VECTORS if not name.startswith("refused-")]
    assert len(accepted) >= 40
    assert len(VECTORS) - len(accepted) >= 15
    lanes = {vectors.load(name).stream[0] & 0x0F for name in accepted}
    assert lanes == set(range(9))


@pytest.mark.parametrize("name", VECTORS)
def test_files_round_trip(name: str) -> None:
    data = (vectors.FOLDER / f"{name}.vec").read_bytes()
    assert vectors.Vector.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("coder", NAMES)
@pytest.mark.parametrize("name", VECTORS)
def test_implementation_obeys_vector(name: str, coder: str) -> None:
    vector = vectors.load(name)
    model = EntropyModel.from_bytes(vector.model)
    under_test = implementation(coder)
    if vector.symbols is None:
        with pytest.raises(BitstreamError):
            under_test.decode(model, vector.stream, vector.shape)
        return
    assert under_test.encode(model, vector.symbols) == vector.stream
    decoded = under_test.decode(model, vector.stream, vector.shape)
    assert decoded.dtype == vector.symbols.dtype
    np.testing.assert_array_equal(decoded, vector.symbols)


@pytest.mark.parametrize("name", VECTORS)
def test_models_survive_serialisation(name: str) -> None:
    vector = vectors.load(name)
    again = EntropyModel.from_bytes(EntropyModel.from_bytes(vector.model).to_bytes())
    if vector.symbols is not None:
        assert again.encode(vector.symbols) == vector.stream
