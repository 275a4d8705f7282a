"""The client SDK: bundle, protocol, client, runtimes, channel, policy, energy."""

from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.client import Client
from cutpoint.sdk.energy import RADIOS, EnergyModel, Radio
from cutpoint.sdk.errors import (
    AuthenticationFailed,
    BadPayload,
    BadRequest,
    BitstreamError,
    BundleError,
    BundleMismatch,
    CodecError,
    CutpointError,
    DeadlineExceeded,
    GraphError,
    InputError,
    InternalError,
    LinkError,
    LocalProtocolError,
    Overloaded,
    ProtocolError,
    ReferenceGone,
    Refused,
    RemoteProtocolError,
    RuntimeUnavailable,
    ServerDraining,
    TooLarge,
    UnknownPoint,
    VersionMismatch,
)
from cutpoint.sdk.link import Backoff, LinkTimes
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import Conditions, LatencyPolicy, Plan, Policy, StaticPolicy
from cutpoint.sdk.result import InferenceResult, Timing
from cutpoint.sdk.runtimes import Runtime, create_runtime

__all__ = [
    "RADIOS",
    "AuthenticationFailed",
    "Backoff",
    "BadPayload",
    "BadRequest",
    "BitstreamError",
    "Bundle",
    "BundleError",
    "BundleMismatch",
    "Channel",
    "Client",
    "CodecError",
    "Conditions",
    "CutpointError",
    "DeadlineExceeded",
    "EnergyModel",
    "GraphError",
    "InferenceResult",
    "InputError",
    "InternalError",
    "LatencyPolicy",
    "LinkError",
    "LinkTimes",
    "LocalProtocolError",
    "Objective",
    "Overloaded",
    "Plan",
    "Point",
    "Policy",
    "ProtocolError",
    "Radio",
    "ReferenceGone",
    "Refused",
    "RemoteProtocolError",
    "Runtime",
    "RuntimeUnavailable",
    "ServerDraining",
    "StaticPolicy",
    "Timing",
    "TooLarge",
    "UnknownPoint",
    "VersionMismatch",
    "create_runtime",
]
