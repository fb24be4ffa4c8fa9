"""The report: one HTML page from a run's records, and the forecast as a picture."""

from foretell.report.figures import forecast_figure, write_forecast_figure
from foretell.report.page import write_report

__all__ = ["forecast_figure", "write_forecast_figure", "write_report"]
