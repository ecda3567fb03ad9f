"""Write the bill of materials (SBOM, CycloneDX) of the wheel in a folder: `python bill.py DIST`.

It lists our package and what an installation today brings along, as pip resolves it.
"""

import sys
import tempfile
import venv
from pathlib import Path

from wheels import run


def main() -> None:
    """Install the wheel of this machine into a new environment, and list what that then has."""
    folder = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=False)
        python = Path(name, "bin/python")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
        run(
            *pip, "install", "--no-index", "--no-deps", "--find-links", folder, "gunicorn-raindrops"
        )
        run(*pip, "install", "--only-binary", ":all:", "gunicorn-raindrops")
        bill = folder / "sbom.cdx.json"
        run(Path(sys.executable).parent / "cyclonedx-py", "environment", "--output-reproducible",
            "--output-file", bill, python)  # fmt: skip
    print(bill.name)


if __name__ == "__main__":
    main()
