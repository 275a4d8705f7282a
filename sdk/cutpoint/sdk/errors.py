"""The exceptions of the SDK and the server, below `cutpoint.codecs.errors.CutpointError`.

CutpointError
 ├── CodecError                     (cutpoint.codecs.errors)
 ├── BundleError                    a bundle is damaged, incomplete, too new, or not what was asked for
 ├── InputError                     a picture, tensor, path or option the caller gave cannot be used
 ├── RuntimeUnavailable             the runtime a graph file needs is not installed
 ├── GraphError                     a runtime refused a graph file, or failed while running it
 ├── ProtocolError
 │    ├── LocalProtocolError        this side tried to send what the protocol does not allow
 │    └── RemoteProtocolError       the other side did
 ├── LinkError                      there is no connection, or it went away
 └── Refused                        the server answered with a typed error; `code` names it on the wire
      ├── AuthenticationFailed      unauthenticated
      ├── VersionMismatch           version_mismatch
      ├── BundleMismatch            bundle_mismatch
      ├── BadRequest                bad_request
      ├── UnknownPoint              unknown_point
      ├── BadPayload                bad_payload
      ├── ReferenceGone             reference_lost
      ├── TooLarge                  too_large
      ├── Overloaded                overloaded
      ├── DeadlineExceeded          deadline_exceeded
      ├── ServerDraining            draining
      ├── TooManyHops               too_many_hops
      └── InternalError             internal
"""

from __future__ import annotations

from typing import ClassVar

from cutpoint.codecs.errors import BitstreamError, CodecError, CutpointError

__all__ = [
    "AuthenticationFailed",
    "BadPayload",
    "BadRequest",
    "BitstreamError",
    "BundleError",
    "BundleMismatch",
    "CodecError",
    "CutpointError",
    "DeadlineExceeded",
    "GraphError",
    "InputError",
    "InternalError",
    "LinkError",
    "LocalProtocolError",
    "Overloaded",
    "ProtocolError",
    "ReferenceGone",
    "Refused",
    "RemoteProtocolError",
    "RuntimeUnavailable",
    "ServerDraining",
    "TooLarge",
    "TooManyHops",
    "UnknownPoint",
    "VersionMismatch",
    "refusal",
]


class BundleError(CutpointError):
    """A bundle is damaged, incomplete, too new, or not what was asked for. Names the file and the reason."""


class InputError(CutpointError):
    """A picture, tensor, path or option that the caller gave cannot be used."""


class RuntimeUnavailable(CutpointError):
    """The runtime that a graph file needs is not installed here. Names the package to install."""


class GraphError(CutpointError):
    """A runtime refused a graph file, or failed while running it."""


class ProtocolError(CutpointError):
    """Something the protocol does not allow (docs/protocol.md)."""


class LocalProtocolError(ProtocolError):
    """This side tried to send it: a bug in the caller. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side sent it. `code` is what the error frame says about it."""

    def __init__(self, message: str, code: str = "bad_request", request_id: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class LinkError(CutpointError):
    """There is no connection to the server, or it went away before the answer came."""


class Refused(CutpointError):
    """The server answered with a typed error.

    Attributes:
        code: the error's name on the wire.
        retry_after: seconds after which trying again makes sense; None where it does not.
        fatal: whether connecting again with the same settings is pointless.
    """

    code: ClassVar[str] = "refused"
    fatal: ClassVar[bool] = False

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationFailed(Refused):
    """The token is missing or wrong."""

    code = "unauthenticated"
    fatal = True


class VersionMismatch(Refused):
    """The server speaks no protocol version that the client does."""

    code = "version_mismatch"
    fatal = True


class BundleMismatch(Refused):
    """The server does not hold the client's bundle."""

    code = "bundle_mismatch"
    fatal = True


class BadRequest(Refused):
    """The server could not understand a frame."""

    code = "bad_request"


class UnknownPoint(Refused):
    """The request names a point that the bundle does not have, or that needs no server."""

    code = "unknown_point"


class BadPayload(Refused):
    """The payload does not decode: damaged, truncated, or of another size than announced."""

    code = "bad_payload"


class ReferenceGone(Refused):
    """A frame of a stream refers to one that the server has not kept. The client sends a key frame by itself."""

    code = "reference_lost"


class TooLarge(Refused):
    """A frame or payload is over the server's limit."""

    code = "too_large"


class Overloaded(Refused):
    """The server has no room for the request now; `retry_after` says when it may."""

    code = "overloaded"


class DeadlineExceeded(Refused):
    """The request's time budget ran out before an answer."""

    code = "deadline_exceeded"


class ServerDraining(Refused):
    """The server is going away and takes no new requests."""

    code = "draining"


class TooManyHops(Refused):
    """The request has passed more tiers than the server lets pass: they probably go round in a circle."""

    code = "too_many_hops"


class InternalError(Refused):
    """The server failed; its log says why."""

    code = "internal"


_BY_CODE: dict[str, type[Refused]] = {kind.code: kind for kind in Refused.__subclasses__()}


def refusal(code: str, message: str, retry_after: float | None = None) -> Refused:
    """The exception for an error frame. A code from a newer server becomes a plain `Refused`."""
    kind = _BY_CODE.get(code)
    if kind is None:
        return Refused(f"{code}: {message}", retry_after)
    return kind(message, retry_after)
