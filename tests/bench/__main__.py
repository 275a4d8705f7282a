"""`python -m tests.bench [NAME]`: runs one benchmark, or all, prints its table and writes `bench/NAME.json`.

A benchmark is a module of this package with a `TITLE`, a function `run()` that measures and returns what JSON can hold,
and a function `table(result)` that makes a rich table of it.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from pathlib import Path

from rich.console import Console

FOLDER = Path(__file__).parent
OUT = FOLDER.parents[1] / "bench"


def names() -> list[str]:
    """All benchmarks, as they are called on the command line."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def run(name: str, console: Console) -> None:
    """Runs one benchmark."""
    module = importlib.import_module(f"tests.bench.{name.replace('-', '_')}")
    console.rule(module.TITLE)
    result = module.run()
    console.print(module.table(result))
    OUT.mkdir(exist_ok=True)
    whole = {"name": name, "title": module.TITLE, "machine": platform.processor() or platform.machine()} | result
    (OUT / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit status."""
    chosen = arguments or ["all"]
    known = names()
    if chosen != ["all"] and (unknown := [name for name in chosen if name not in known]):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    console = Console()
    for name in known if chosen == ["all"] else chosen:
        run(name, console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
