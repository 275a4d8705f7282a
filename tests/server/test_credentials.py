from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cutpoint.sdk import InputError
from cutpoint.server import Settings
from cutpoint.server.credentials import client_context, read_token


def test_none_without_a_file() -> None:
    assert read_token(None) is None
    assert client_context(Settings(), None, None) is None
    assert client_context(Settings(), "ws://there", None) is None


def test_certificates_are_the_systems_or_those_of_a_file(tmp_path: Path) -> None:
    context = client_context(Settings(), "wss://there", None)
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    path = tmp_path / "authorities"
    path.write_text("nothing")
    with pytest.raises(InputError, match="authorities holds no certificates"):
        client_context(Settings(), "wss://there", path)


def test_a_token_is_the_file_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-for-another-server\n")
    assert read_token(path) == "a-token-for-another-server"


@pytest.mark.parametrize("text", ["", "\n", "two\nlines\n"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(InputError, match="one line with the token"):
        read_token(path)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_token(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        client_context(Settings(), "wss://there", tmp_path / "nowhere")
