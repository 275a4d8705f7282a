import numpy as np
import pytest
from tests.sdk.test_policy import EARLY, LOCAL

from cutpoint.sdk import Counters, InferenceResult, LinkError, Plan, Timing


def result(source: str, hedged: bool = False, failed: bool = False, exit: str | None = None) -> InferenceResult:
    point = LOCAL if source == "device" else EARLY
    plan = Plan(point, 1.0, 1.0)
    fallback = LinkError("gone") if failed else None
    outputs = (np.zeros(1),)
    return InferenceResult(outputs, point, source, Timing(1.0), 0, plan, fallback, hedged, exit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (result("edge"), Counters(edge=1)),
        (result("edge", hedged=True), Counters(edge=1, hedged=1)),
        (result("device"), Counters(device=1)),
        (result("device", hedged=True), Counters(device=1, hedged=1, hedges_won=1)),
        (result("device", failed=True), Counters(device=1, fallbacks=1)),
        (result("device", exit="exit1"), Counters(device=1, exits=1)),
        (result("edge", exit="exit1"), Counters(edge=1, server_exits=1)),
    ],
)
def test_every_answer_is_counted_where_it_belongs(answer: InferenceResult, counted: Counters) -> None:
    counters = Counters()
    counters.count(answer)
    assert counters == counted
    assert counters.answered == 1
