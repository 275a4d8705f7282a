"""How many replicas a load asks for, on a clock of the test's own."""

from cutpoint.server.engines.scaling import Scaling


def run(scaling: Scaling, replicas: int, waiting: int, seconds: float, began: float) -> int:
    """Looks twice a second; a replica has one worker."""
    for tick in range(int(seconds * 2) + 1):
        replicas = scaling.wanted(replicas, waiting, replicas, began + tick / 2)
    return replicas


def test_comes_quickly_and_goes_slowly() -> None:
    scaling = Scaling(1, 4, up=1.0, down=10.0)
    assert run(scaling, 1, 0, 5.0, 0.0) == 1
    assert run(scaling, 1, 10, 0.5, 10.0) == 1
    assert run(scaling, 1, 10, 1.5, 11.0) == 3
    assert run(scaling, 3, 100, 60.0, 30.0) == 4
    assert run(scaling, 4, 0, 9.0, 100.0) == 4
    assert run(scaling, 4, 0, 9.0, 110.0) == 3
    assert run(scaling, 3, 0, 60.0, 120.0) == 1


def test_as_many_waiting_as_are_computed_is_no_reason() -> None:
    scaling = Scaling(1, 4, up=1.0, down=10.0)
    assert run(scaling, 2, 2, 100.0, 0.0) == 2


def test_keeps_to_its_limits_at_once() -> None:
    scaling = Scaling(2, 3)
    assert scaling.wanted(0, 0, 0, 0.0) == 2
    assert scaling.wanted(5, 100, 5, 0.0) == 3
