"""What calibration found, for people: a page, a table in the terminal, and two bundles side by side."""

from cutpoint.calibration.report.compare import Comparison, compare_views
from cutpoint.calibration.report.page import PAGE, add_page, compare_page, report_page
from cutpoint.calibration.report.switching import Stretch, best_stretches
from cutpoint.calibration.report.view import View, make_view

__all__ = [
    "PAGE",
    "Comparison",
    "Stretch",
    "View",
    "add_page",
    "best_stretches",
    "compare_page",
    "compare_views",
    "make_view",
    "report_page",
]
