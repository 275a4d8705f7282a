"""The report as one HTML file: nothing is fetched, no framework, the data lies in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

import msgspec

from cutpoint.calibration.report.compare import Comparison
from cutpoint.calibration.report.view import View, make_view
from cutpoint.sdk.bundle import Bundle, Manifest, Part

__all__ = ["PAGE", "add_page", "compare_page", "report_page"]

#: Path in the bundle.
PAGE = "report/report.html"
_FOLDER = resources.files("cutpoint.calibration.report") / "web"


def report_page(view: View) -> str:
    """The page of one bundle."""
    return _page(f"cutpoint report: {view.name}", msgspec.json.encode(view), ("plot.js", "report.js"))


def add_page(manifest: Manifest, files: Mapping[str, tuple[Part, bytes]]) -> dict[str, tuple[Part, bytes]]:
    """The files of a bundle, with the page among them. It cannot show the hash, of which it is a part."""
    page = report_page(make_view(Bundle.create(manifest, files), hash=""))
    return {**files, PAGE: ("report", page.encode())}


def compare_page(comparison: Comparison) -> str:
    """The page of two bundles side by side."""
    names = f"{comparison.a.name} and {comparison.b.name}"
    return _page(f"cutpoint compare: {names}", msgspec.json.encode(comparison), ("plot.js", "compare.js"))


def _page(title: str, data: bytes, scripts: Sequence[str]) -> str:
    def read(name: str) -> str:
        return (_FOLDER / name).read_text("utf-8")

    # Inside a script element only "<" could end the data, or begin a comment; inside JSON it stands in strings only.
    shown = data.decode().replace("<", "\\u003c")
    parts = {
        "title": escape(title),
        "style": read("page.css"),
        "data": shown,
        "script": "\n".join(read(name) for name in scripts),
    }
    page = read("page.html")
    head, *rest = page.split("{{")
    return head + "".join(parts[name] + text for name, _, text in (part.partition("}}") for part in rest))
