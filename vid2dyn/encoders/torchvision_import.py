"""The one place that imports torchvision.

torchvision's Linux wheel on PyPI is a CUDA build. Beside a CPU build of torch its compiled part does not load, and the
import dies with ``operator torchvision::nms does not exist`` when it describes operators that nobody registered.
Models and transforms need none of them: on exactly that error the half-imported modules are dropped, the two missing
schemas are defined, and torchvision is imported again. Where the import works nothing is defined, because defining a
schema twice is an error of its own.

>>> torchvision = load()
>>> torchvision.transforms.v2.__name__
'torchvision.transforms.v2'
"""

from __future__ import annotations

import functools
import importlib
import sys
import types

import torch

from vid2dyn.core.errors import ConfigError

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SYMPTOM = "operator torchvision::nms does not exist"
_kept: list[torch.library.Library] = []
"""Schemas live as long as the library object that defined them."""


@functools.cache
def load() -> types.ModuleType:
    """torchvision, with `models` and `transforms.v2` imported.

    Raises
    ------
    ConfigError
        When torchvision is not installed, or does not match torch in another way than the one handled here.
    """
    try:
        return _import()
    except ImportError as error:
        raise ConfigError(f"The patch encoder needs torchvision ({error}). Install a version that belongs to "
                          f"torch {torch.__version__}; in a clone: pip install -c constraints.txt -e .") from error
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise ConfigError(f"torchvision cannot be imported beside torch {torch.__version__}: {error}. Install the "
                              "versions that constraints.txt pins.") from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        fragment.define(f"{operator}{SCHEMA}")
    _kept.append(fragment)
    return _import()


def _import() -> types.ModuleType:
    root = importlib.import_module("torchvision")
    importlib.import_module("torchvision.models")
    importlib.import_module("torchvision.transforms.v2")
    return root
