import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.timeline import Step, finish_ms, run_steps


def test_a_resource_does_its_steps_in_turn_and_others_beside_it() -> None:
    times = run_steps([Step("device", 3), Step("device", 2), Step("uplink", 4, (0,), 10), Step("uplink", 1, (1,))])
    assert [(time.begin, time.end) for time in times] == [(0, 3), (3, 5), (3, 7), (7, 8)]
    assert times[2].known == 17
    assert finish_ms([Step("device", 3, lag_ms=1), Step("server", 2)]) == 4
    assert finish_ms([]) == 0


def test_a_step_that_waits_for_a_later_one_is_refused() -> None:
    with pytest.raises(InputError, match="step 0 waits for"):
        run_steps([Step("device", 1, (0,))])


@st.composite
def plans(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 12))):
        after = tuple(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else ()
        resource = draw(st.sampled_from(["device", "uplink", "server"]))
        steps.append(Step(resource, draw(st.integers(0, 9)), after, draw(st.integers(0, 5))))
    return steps


@given(plans())
def test_what_holds_of_every_plan(steps: list[Step]) -> None:
    times = run_steps(steps)
    busy: dict[str, float] = {}
    for step, time in zip(steps, times, strict=True):
        assert time.begin >= busy.get(step.resource, 0)
        assert all(time.begin >= times[other].known for other in step.after)
        # Nothing waits without a reason.
        assert time.begin in {0, busy.get(step.resource, 0), *(times[other].known for other in step.after)}
        busy[step.resource] = time.end
    work = [sum(step.ms for step in steps if step.resource == name) for name in busy]
    assert max(work) <= finish_ms(steps) <= sum(step.ms + step.lag_ms for step in steps)
