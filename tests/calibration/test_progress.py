import io

import pytest
from rich.console import Console

from cutpoint.calibration.progress import ConsoleReporter


@pytest.mark.parametrize("terminal", [False, True])
def test_stages_and_notes_are_shown(terminal: bool) -> None:
    stream = io.StringIO()
    reporter = ConsoleReporter(Console(file=stream, force_terminal=terminal, width=100))
    with reporter.stage("measuring", 2) as advance:
        advance()
        advance()
    reporter.note("[something] of note")
    text = stream.getvalue()
    assert "measuring" in text
    assert "[something] of note" in text
    assert ("2/2" in text) == terminal
    assert ("\x1b" in text) == terminal
