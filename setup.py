"""What pyproject.toml cannot say: the description on a package index is the README with links that work there.

The README links to files of the clone and shows their pictures. An index has neither, so each becomes an address under
`Source` of [project.urls], of the tag that belongs to the version. That line of pyproject.toml is the one place of it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def description(readme: str, source: str, tag: str) -> str:
    """The README with absolute links: pictures as files, everything else as pages.

    >>> print(description("[start](docs/start.md), ![a](docs/a.png), [x](https://x.org)", "https://h.example/s", "v1"))
    [start](https://h.example/s/blob/v1/docs/start.md), ![a](https://h.example/s/raw/v1/docs/a.png), [x](https://x.org)
    """
    def absolute(link: re.Match[str]) -> str:
        return f"{link[1]}[{link[2]}]({source}/{'raw' if link[1] else 'blob'}/{tag}/{link[3]})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)", absolute, readme)


if __name__ == "__main__":
    source = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
    version = re.search(r'^__version__ = "(.+)"', (ROOT / "vid2dyn/__init__.py").read_text(encoding="utf-8"), re.M)
    assert version is not None
    setup(long_description=description((ROOT / "README.md").read_text(encoding="utf-8"), source, f"v{version[1]}"),
          long_description_content_type="text/markdown")
