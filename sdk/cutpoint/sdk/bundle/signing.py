"""Signatures of bundles: Ed25519 (RFC 8032) over the bundle's hash, which covers every file."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from cutpoint.sdk.bundle.bundle import Bundle
from cutpoint.sdk.errors import BundleError, InputError, RuntimeUnavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

__all__ = ["check_keys", "check_signature", "new_key", "public_key", "sign"]

_PREFIX = "ed25519:"
_KEY_SIZE = 32
#: What is signed begins so: a signature made for something else with the same key is none of a bundle.
_CONTEXT = b"cutpoint bundle, schema 1\n"


def new_key() -> tuple[bytes, str]:
    """A private key (PEM), and its public key as text."""
    key = _library().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, _text(key.public_key().public_bytes_raw())


def public_key(private: bytes) -> str:
    """The public key, as text, of a private key (PEM). Raises `InputError` if it is not one."""
    return _text(_private(private).public_key().public_bytes_raw())


def sign(bundle: Bundle, private: bytes) -> Bundle:
    """The bundle with a signature; its hash is the same.

    Args:
        bundle: any of its parts may be absent.
        private: key (PEM).

    Raises:
        InputError: if it is not an Ed25519 key.
    """
    key = _private(private)
    signature = key.sign(_CONTEXT + bytes.fromhex(bundle.hash))
    return bundle.signed(key.public_key().public_bytes_raw() + signature)


def check_keys(trusted: Iterable[str]) -> tuple[str, ...]:
    """The public keys, if all are. Raises `InputError`."""
    keys = tuple(trusted)
    for key in keys:
        try:
            good = key.startswith(_PREFIX) and len(bytes.fromhex(key.removeprefix(_PREFIX))) == _KEY_SIZE
        except ValueError:
            good = False
        if not good:
            raise InputError(f"{key!r} is not a public key, as cutpoint keygen prints one: ed25519: and 64 hex digits")
    return keys


def check_signature(bundle: Bundle, trusted: Iterable[str]) -> None:
    """Makes sure that one of the trusted keys signed this very bundle.

    Args:
        bundle: any part of it.
        trusted: public keys, as text.

    Raises:
        BundleError: if it is not signed, by another key, or the signature is damaged or of another bundle.
    """
    if bundle.signature is None:
        raise BundleError(f"{bundle.origin}: the bundle is not signed, and only signed ones are trusted here")
    key, signature = bundle.signature[:_KEY_SIZE], bundle.signature[_KEY_SIZE:]
    if _text(key) not in {known.lower() for known in trusted}:
        raise BundleError(f"{bundle.origin}: the bundle is signed with {_text(key)}, which is not trusted here")
    library = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        library.Ed25519PublicKey.from_public_bytes(key).verify(signature, _CONTEXT + bytes.fromhex(bundle.hash))
    except (InvalidSignature, ValueError) as error:
        raise BundleError(f"{bundle.origin}: the signature is not one of this bundle: forged, or another's") from error


def _text(public: bytes) -> str:
    return _PREFIX + public.hex()


def _private(pem: bytes) -> ed25519.Ed25519PrivateKey:
    _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"not a private key (PEM, without a password): {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("the key is not an Ed25519 key; cutpoint keygen makes one")
    return key


def _library() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise RuntimeUnavailable("signatures need the package cryptography: pip install 'cutpoint[signing]'") from None
    return ed25519
