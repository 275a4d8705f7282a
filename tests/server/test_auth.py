"""Token files."""

import hashlib
from pathlib import Path

import pytest

from cutpoint.sdk.errors import InputError
from cutpoint.server.auth import ANYBODY, Account, Tokens, digest

WORD = "a-word-of-some-length"


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    with pytest.raises(InputError, match="cannot be read"):
        Tokens(path)
    path.write_text("# nobody\n\n")
    with pytest.raises(InputError, match="holds no token"):
        Tokens(path)
    path.write_text("one\n  two  \n")
    tokens = Tokens(path)
    one = tokens.find("one")
    assert one is not None
    assert one.scopes == {"infer", "download"}
    assert "one" not in one.name  # names are shown, tokens are not
    assert tokens.find("two") not in (None, one)
    assert tokens.find("") is None
    assert tokens.find("three") is None


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    hashed = hashlib.sha256(b"another word").hexdigest()
    path.write_text(
        f'[[token]]\nname = "fleet"\ntoken = "{WORD}"\nweight = 2\nmax_in_flight = 8\nmax_rate = 50\n'
        f'[[token]]\nname = "board"\nsha256 = "{hashed}"\nscopes = ["metrics", "status"]\n'
    )
    tokens = Tokens(path)
    assert tokens.find(WORD) == Account("fleet", frozenset(("infer", "download")), 2.0, 8, 50.0)
    assert tokens.find("another word") == Account("board", frozenset(("metrics", "status")))
    assert tokens.find(hashed) is None  # the hash is not a token


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[token]]\nname = "a"', "'a' needs one of token and sha256"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\nsha256 = "{"0" * 64}"', "'a' needs one of"),
        ('[[token]]\nname = "a"\ntoken = "short"', "the token of 'a' has under 16 characters"),
        ('[[token]]\nname = "a"\nsha256 = "xyz"', r"\$.token\[0\].sha256"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\nweigth = 2', "weigth"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\nweight = 0', "weight"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\nscopes = ["root"]', "root"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\n[[token]]\nname = "b"\ntoken = "{WORD}"', "'b' has a name or a"),
        (f'[[token]]\nname = "a"\ntoken = "{WORD}"\n[[token]]\nname = "a"\ntoken = "{WORD}2"', "'a' has a name"),
        ("[[token", "tokens.toml"),
        ("", "holds no token"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Tokens(path)
    assert WORD not in str(caught.value)


def test_reload(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("one\n")
    tokens = Tokens(path)
    path.write_text("")
    with pytest.raises(InputError):
        tokens.reload()
    assert tokens.find("one") is not None  # a broken file locks nobody out
    assert tokens.still(digest("one")) is not None
    path.write_text("two\n")
    tokens.reload()
    assert tokens.still(digest("one")) is None
    assert tokens.still(digest("two")) is not None


def test_without_a_file_everybody_may_everything() -> None:
    tokens = Tokens(None)
    assert not tokens.required
    assert tokens.find("") is tokens.still(b"") is ANYBODY
    assert ANYBODY.scopes == {"infer", "download", "metrics", "status"}
