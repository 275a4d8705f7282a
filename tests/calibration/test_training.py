import pytest
import torch

import cutpoint.calibration.training.loop as training
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.training.loop import Budget


def test_minutes_end_a_training() -> None:
    seen: list[float] = []
    module = torch.nn.Linear(1, 1)

    def loss(step: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append(progress)
        return module(torch.ones(1)).square().sum(), {}

    groups = [{"params": list(module.parameters()), "lr": 1e-3}]
    curves = training.train(module, groups, loss, Budget(1, minutes=0.002))
    assert seen == sorted(seen)
    assert curves["step"][-1] == len(seen)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    module = torch.nn.Linear(1, 1)
    groups = [{"params": list(module.parameters()), "lr": 1e-3}]
    with pytest.raises(CalibrationError, match="diverged at step 0"):
        training.train(module, groups, lambda *_: (module(torch.ones(1)).sum() * torch.nan, {}), Budget(3))
