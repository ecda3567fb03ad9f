"""What `make test-deploy` installs for these tests, in an environment of its own; without it those
tests skip that need it."""

import pytest

from ..integration.servers import ROOT

HOME = ROOT / ".venv-deploy"
BIN = HOME / "bin"
NODE = HOME / "node/node_modules"


def tool(name):
    """Return the path of a command of that environment."""
    if not (BIN / name).exists():
        pytest.skip(f"no {name}: `make test-deploy` installs it")
    return BIN / name
