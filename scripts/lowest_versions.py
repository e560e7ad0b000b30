"""The lowest versions that pyproject.toml allows, as constraints for pip.

    python scripts/lowest_versions.py > lowest.txt
    pip install -c lowest.txt -e ".[test]"

Every run-time dependency is pinned to its lower bound (a version that exists, which a test makes sure of by asking for
three numbers where the package has them). Tools of the tests, and what dependencies need themselves, stay free.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
BOUND = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)")


def lowest(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Lower bound of every run-time dependency, by name.

    >>> lowest()["numba"]
    '0.60.0'
    """
    listed = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    bounds = {}
    for requirement in listed:
        found = BOUND.fullmatch(requirement)
        if found is None:
            raise SystemExit(f"{pyproject}: {requirement!r} has no lower bound of the form name>=version; give it one.")
        bounds[found[1]] = found[2]
    return bounds


if __name__ == "__main__":
    for name, version in lowest().items():
        print(f"{name}=={version}")
