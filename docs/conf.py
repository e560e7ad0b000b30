"""How the documentation is built: `scripts/docs`, strictly, so that a broken link or reference fails.

Pages are Markdown (MyST). The references of Python and of the command line are written from the package itself by
`docs/_ext/reference.py`, before pages are read; sphinx-gallery runs the gallery where `docs/gallery` has scripts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent), str(HERE.parent / "napari_plugin")]
os.environ.setdefault("MPLBACKEND", "Agg")

import vid2dyn  # noqa: E402

project = "vid2dyn"
author = "the vid2dyn developers"
copyright = "the vid2dyn developers; BSD-3-Clause"
version = release = vid2dyn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "reference", "equations"]
exclude_patterns = ["_build", "gallery", "gallery/**", "**/*.ipynb"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
html_math_renderer = "mathml"

default_role = "code"                                 # `name` in docstrings is code
autodoc_typehints = "none"                            # types stand in the docstrings, in words and with units
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = f"vid2dyn {release}"
html_static_path = ["_static"]
html_css_files = ["page.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

GALLERY = bool(sorted((HERE / "gallery").glob("*.py")))
if GALLERY:
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "gallery",
        "gallery_dirs": "gallery_built",
        "filename_pattern": r".*\.py",
        "abort_on_example_error": True,
        "download_all_examples": False,
        "remove_config_comments": True,
    }


GALLERY_LINK = """
The [gallery](gallery_built/index) answers one question of a laboratory a script.

```{toctree}
:hidden:
:maxdepth: 1
:caption: Gallery

gallery_built/index
```
"""


def with_gallery(app: Any, page: str, source: list[str]) -> None:
    """The first page lists the gallery where there is one."""
    if page == "index" and GALLERY:
        source[0] += GALLERY_LINK


def setup(app: Any) -> None:
    app.connect("source-read", with_gallery)
