"""The client SDK: bundle, protocol, client, runtimes, channel, policy, energy."""

from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.client import Client
from cutpoint.sdk.counters import Counters
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
    TooManyHops,
    UnknownPoint,
    VersionMismatch,
)
from cutpoint.sdk.learned import LearnedPolicy
from cutpoint.sdk.objective import Forecast, Objective
from cutpoint.sdk.policy import AdaptivePolicy, Alternative, Plan, Policy, StaticPolicy
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.result import InferenceResult, Timing
from cutpoint.sdk.runtimes import Runtime, create_runtime
from cutpoint.sdk.state import DeviceState
from cutpoint.sdk.times import Backoff, LinkTimes

__all__ = [
    "RADIOS",
    "AdaptivePolicy",
    "Alternative",
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
    "Counters",
    "CutpointError",
    "DeadlineExceeded",
    "DeviceState",
    "EnergyModel",
    "Forecast",
    "GraphError",
    "InferenceResult",
    "InputError",
    "InternalError",
    "LearnedPolicy",
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
    "TooManyHops",
    "UnknownPoint",
    "VersionMismatch",
    "create_runtime",
]
