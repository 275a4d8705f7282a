"""Signatures of bundles."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Bundle, BundleError, Client, InputError
from cutpoint.sdk.bundle import check_keys, check_signature, new_key, public_key, sign
from cutpoint.sdk.commands.sign import keygen
from cutpoint.sdk.commands.sign import sign as sign_command

PRIVATE, PUBLIC = new_key()
BUNDLE = toy_bundle()
SIGNED = sign(BUNDLE, PRIVATE)


def test_a_signature_changes_no_hash_and_goes_with_every_part(tmp_path: Path) -> None:
    assert SIGNED.hash == BUNDLE.hash
    assert BUNDLE.signature is None
    for path in (tmp_path / "toy.cutpoint", tmp_path / "toy"):
        SIGNED.part("device").save(path)
        again = Bundle.open(path)
        assert again.hash == BUNDLE.hash
        check_signature(again, [PUBLIC.upper().replace("ED25519", "ed25519")])
    assert public_key(PRIVATE) == PUBLIC
    assert sign(BUNDLE, PRIVATE).signature == SIGNED.signature  # Ed25519 draws no numbers


def test_what_is_not_trusted() -> None:
    other_private, other_public = new_key()
    with pytest.raises(BundleError, match="is not signed"):
        check_signature(BUNDLE, [PUBLIC])
    with pytest.raises(BundleError, match="which is not trusted"):
        check_signature(SIGNED, [other_public])
    replayed = toy_bundle("another").signed(SIGNED.signature or b"")
    with pytest.raises(BundleError, match="forged, or another's"):
        check_signature(replayed, [PUBLIC])
    made_with_another_key = sign(BUNDLE, other_private).signature or b""
    forged = BUNDLE.signed((SIGNED.signature or b"")[:32] + made_with_another_key[32:])
    with pytest.raises(BundleError, match="forged"):
        check_signature(forged, [PUBLIC, other_public])
    with pytest.raises(BundleError, match="does not have 96 bytes"):
        BUNDLE.signed(b"short")


@given(st.integers(0, 96 * 8 - 1))
def test_no_bit_of_it_can_be_changed(bit: int) -> None:
    damaged = bytearray(SIGNED.signature or b"")
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BundleError):
        check_signature(BUNDLE.signed(bytes(damaged)), [PUBLIC])


def test_keys_that_are_none() -> None:
    for text in ("", "ed25519:", PUBLIC[:-1], PUBLIC + "00", PUBLIC.removeprefix("ed25519:"), "ed25519:" + "x" * 64):
        with pytest.raises(InputError, match="not a public key"):
            check_keys([text])
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InputError, match="not an Ed25519 key"):
        sign(BUNDLE, rsa_key)
    with pytest.raises(InputError, match="not a private key"):
        sign(BUNDLE, b"nonsense")


async def test_a_client_uses_only_what_it_trusts() -> None:
    async with Client(bundle=SIGNED, mode="device", trusted_keys=[PUBLIC]) as client:
        assert (await client.infer(picture(1))).source == "device"
    with pytest.raises(BundleError, match="is not signed"):
        async with Client(bundle=BUNDLE, mode="device", trusted_keys=[PUBLIC]):
            pass
    for keys in ([], ["nonsense"]):
        with pytest.raises(InputError):
            Client(bundle=SIGNED, trusted_keys=keys)


def test_commands(tmp_path: Path) -> None:
    key, path = tmp_path / "key.pem", tmp_path / "toy.cutpoint"
    BUNDLE.save(path)
    run = CliRunner().invoke
    made = run(keygen, [str(key)])
    assert made.exit_code == 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert isinstance(run(keygen, [str(key)]).exception, InputError)  # an old key is never overwritten
    done = run(sign_command, [str(path), "--key", str(key)])
    assert done.exit_code == 0, done.output
    check_signature(Bundle.open(path), [made.output.strip()])
    assert isinstance(run(sign_command, [str(path), "--key", str(tmp_path / "no")]).exception, InputError)
