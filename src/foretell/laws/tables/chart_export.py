"""Charts as Weights & Biases exports them: the x axis, and for each run ``RUN - METRIC`` with its __MIN and __MAX."""

from __future__ import annotations

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.tables.cells import is_missing, number_or_none, shown
from foretell.laws.tables.columns import find_columns
from foretell.laws.tables.series import Series, last_points

SEPARATOR = " - "
BANDS = ("__MIN", "__MAX")  # lowest and highest of the points that the chart drew as one
INTERNAL = ("_step", "_runtime", "_timestamp")


def is_chart(table: Table) -> bool:
    """Whether the columns after the first are the series of runs: several, or with their bands."""
    axis, *series = table.columns
    if not series or SEPARATOR in axis:
        return False
    bands = [name for name in series if name.endswith(BANDS)]
    named = [name for name in series if name not in bands]
    if bands:
        return len(bands) == 2 * len(named) or all(SEPARATOR in name for name in named)
    return len(named) > 1 and all(SEPARATOR in name for name in named)


def chart_runs(table: Table) -> Table:
    """The last point of each run of a chart.

    Raises:
        UserError: where the x axis is neither compute, nor tokens beside a series of parameters, or has a cell that is
            no number.
    """
    axis = table.columns[0]
    runs: dict[str, dict[str, list[tuple[float, object]]]] = {}
    places = _places(table, axis)
    for column in table.columns[1:]:
        if column.endswith(BANDS):
            continue
        run, separator, metric = column.rpartition(SEPARATOR)
        if metric in INTERNAL:
            continue
        name, metric = (run, metric) if separator else (column, "value")
        points = [(place, table.rows[index][column]) for place, index in places]
        runs.setdefault(name, {})[metric] = [(place, cell) for place, cell in points if not is_missing(cell)]
    if not runs:
        raise UserError(f"{table.path} is a chart without a metric; export one of the loss.")
    along = [(place, table.rows[index][axis]) for place, index in places]
    known = find_columns([axis, *{name for series in runs.values() for name in series}])
    if "flops" not in known and not {"params", "tokens"} <= known.keys():
        raise UserError(
            f"{table.path} is a chart over '{axis}', which does not say how much compute each run took; export the "
            "chart with training FLOPs as its x axis (or tokens, with the parameters as a series), or the table of "
            "runs with columns of parameters and tokens."
        )
    found: dict[str, tuple[Series, dict[str, object]]] = {
        name: ({axis: along, **series}, {}) for name, series in runs.items()
    }
    if not any(axis in names for names in known.values()):
        found = {name: (series, {}) for name, series in runs.items()}
    note = "A chart does not say which runs are finished; the last point of each is taken as its final value."
    return last_points(table.path, found, [note])


def _places(table: Table, axis: str) -> list[tuple[float, int]]:
    """Rows in the order of the x axis."""
    places = []
    for index, row in enumerate(table.rows):
        place = number_or_none(row[axis])
        if place is None:
            raise UserError(
                f"{table.path}, {table.name_rows([table.numbers[index]])}: {axis} is {shown(row[axis])}; a number is "
                "expected along the x axis."
            )
        places.append((place, index))
    return sorted(places)
