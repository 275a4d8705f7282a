import asyncio

import pytest

from cutpoint.sdk.answers import Answers
from cutpoint.sdk.errors import LinkError, Overloaded
from cutpoint.sdk.protocol import Result


async def test_each_answer_goes_to_who_waits_for_it() -> None:
    answers = Answers()
    first, second, third = (answers.expect(number) for number in (1, 2, 3))
    answers.answered(Result(2, ()))
    answers.refused(1, Overloaded("full"), 0.0)
    answers.answered(Result(9, ()))
    assert (await second).request_id == 2
    with pytest.raises(Overloaded, match="full"):
        await first
    assert not third.done()
    answers.lost(LinkError("gone"))
    with pytest.raises(LinkError, match="gone"):
        await third
    assert len(answers) == 3
    for number in (1, 2, 3):
        answers.forget(number)
    assert len(answers) == 0


async def test_what_comes_after_the_end_changes_nothing() -> None:
    answers = Answers()
    answer = answers.expect(1)
    answers.answered(Result(1, ()))
    answers.refused(1, Overloaded("late"), 0.0)
    answers.lost(LinkError("gone"))
    assert (await answer).request_id == 1
    answers.forget(1)
    cancelled = answers.expect(2)
    cancelled.cancel()
    answers.answered(Result(2, ()))
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    answers.forget(2)


@pytest.mark.parametrize(("at", "told"), [(1.0, 1), (2.0, 1), (2.1, 0)])
async def test_a_cancellation_is_confirmed_where_the_server_says_so_in_time(at: float, told: int) -> None:
    answers, calls = Answers(), []
    answers.cancelled(1, 2.0, lambda: calls.append(1))
    answers.refused(1, Overloaded("cancelled"), at)
    answers.refused(1, Overloaded("cancelled"), at)
    assert len(calls) == told
    assert not answers.unfinished


async def test_an_answer_or_the_end_of_the_connection_confirms_nothing() -> None:
    answers, calls = Answers(), []
    answers.cancelled(1, 2.0, lambda: calls.append(1))
    answers.cancelled(2, 2.0, lambda: calls.append(2))
    answers.answered(Result(1, ()))
    assert list(answers.unfinished) == [2]
    answers.lost(LinkError("gone"))
    assert not answers.unfinished
    assert not calls
