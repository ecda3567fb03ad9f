"""The schema of the JSON that ships in the package, compiled: each JSON that a test sees is held
against it."""

import json
from importlib.resources import files

import fastjsonschema

SCHEMA = json.loads(files("gunicorn_raindrops.exporters").joinpath("schema.json").read_text())

check = fastjsonschema.compile(SCHEMA)
"""Return a JSON, as Python's types, if the schema allows it; else raise a ValueError that says
where it does not."""


def parsed(body):
    """Return what a JSON body says."""
    return check(json.loads(body))
