"""The shipped Grafana dashboard: its panels, its queries, and what Grafana would put in for the
variables of them."""

import json
import re
from dataclasses import dataclass

from ..integration.servers import ROOT

PATH = ROOT / "examples/deploy/grafana/gunicorn.json"
DASHBOARD = json.loads(PATH.read_text())
VALUES = {"$__rate_interval": "10s", "$job": "gunicorn", "$instance": ".+"}
"""`.+` is the variable's own value for All."""

_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class Query:
    """A query of a panel: with the panel's title, and whether it is of an instant only."""

    panel: str
    expression: str
    instant: bool


def panels():
    """Return all panels that show something: a row only has a title."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def variables():
    """Return the variables of the dashboard, by name."""
    return {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def filled(text):
    """Return a query with values for its variables."""
    for name, value in VALUES.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def queries():
    """Return the queries of all panels."""
    return [
        Query(panel["title"], filled(target["expr"]), target.get("instant", False))
        for panel in panels()
        for target in panel["targets"]
    ]


def label_queries():
    """Return, for each variable that asks Prometheus, its name, the series and the label."""
    found = []
    for name, variable in variables().items():
        if variable["type"] == "query":
            series, label = _LABEL_VALUES.fullmatch(variable["query"]["query"]).groups()
            found.append((name, filled(series), label))
    return found
