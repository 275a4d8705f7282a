import ssl
import subprocess
from pathlib import Path

import pytest

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.tls import client_context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signed itself, `one`, and its key again behind a password, `locked.key`."""
    folder = tmp_path_factory.mktemp("certificates")
    cert, key, locked = (str(folder / name) for name in ("one.pem", "one.key", "locked.key"))
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=one"]
    for command in (
        [*make, "-keyout", key, "-out", cert],
        ["ec", "-in", key, "-out", locked, "-aes128", "-passout", "pass:word"],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return folder


def test_servers_are_verified(folder: Path) -> None:
    for context in (client_context(), client_context(folder / "one.pem", folder / "one.key", folder / "one.pem")):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert [one["subject"] for one in client_context(ca=folder / "one.pem").get_ca_certs()] == [
        ((("commonName", "one"),),)
    ]


def test_what_cannot_be_used_is_named(folder: Path) -> None:
    cert, key = folder / "one.pem", folder / "one.key"
    for arguments, message in (
        ((cert, None, None), "give both"),
        ((None, key, None), "give both"),
        ((cert, folder / "none.key", None), r"none\.key"),
        ((cert, folder / "locked.key", None), "encrypted"),
        ((key, key, None), r"one\.key"),
        ((None, None, folder / "none.pem"), r"none\.pem"),
        ((None, None, key), r"one\.key"),
    ):
        with pytest.raises(InputError, match=message):
            client_context(*arguments)
