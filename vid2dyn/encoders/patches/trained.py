"""A trained encoder of patches: numbers, where they came from, and the file that holds both."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vid2dyn.core.sealed import in_memory_order, read_sealed, write_sealed
from vid2dyn.encoders.patches.net import PatchNet


@dataclass(frozen=True, eq=False)
class TrainedPatchEncoder:
    """What `PatchEncoder.train` and `vd.load` return; `vd.encode(video, tracks, encoder)` applies it.

    Parameters
    ----------
    recipe : dict
        The constructor call of the `PatchEncoder`, with the size in force.
    arrays : mapping of str to array
        The net ("net...."), the scale of grey levels, mean and weights of the columns.
    report : dict
        `persistence` of every column (correlation of two pictures of a particle up to `lag` frames apart),
        `score` of the training, `pairs`, `illumination`, `noise` [grey levels], `seed`.
    """

    recipe: dict[str, Any]
    arrays: Mapping[str, np.ndarray]
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", in_memory_order(self.arrays))

    @property
    def size(self) -> int:
        """Edge of a patch [px]."""
        return int(self.recipe["size"])

    @property
    def n_columns(self) -> int:
        """Numbers per patch."""
        return int(self.arrays["weights"].shape[1])

    @functools.cached_property
    def _net(self) -> PatchNet:
        with torch.random.fork_rng(devices=[]):             # weights are drawn before they are read
            net = PatchNet(self.size, int(self.recipe["channels"]), 2 * self.n_columns)
        net.load_state_dict({name.removeprefix("net."): torch.as_tensor(np.array(value))
                             for name, value in self.arrays.items() if name.startswith("net.")})
        return net.eval()

    def columns(self, patches: np.ndarray) -> np.ndarray:
        """(n, columns) of patches (n, size, size) [grey levels less background]."""
        scaled = torch.as_tensor(np.asarray(patches, np.float32) / np.float32(self.arrays["scale"][0]))
        with torch.inference_mode():
            features = self._net.features(scaled[:, None]).numpy().astype(float)
        return (features - self.arrays["mean"]) @ self.arrays["weights"]

    def about(self) -> dict[str, Any]:
        """Recipe and report, as plain numbers and words."""
        return {"recipe": self.recipe, **self.report}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an .encoder file, whole or not at all: safetensors with a JSON header and a checksum, no pickle."""
        return write_sealed(path, "encoder", {"recipe": self.recipe, "report": self.report}, self.arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainedPatchEncoder:
        """Read a file written by `save`.

        Raises
        ------
        DataError
            If the file is absent or empty.
        ModelError
            If it is damaged, not an encoder, or of a newer schema.
        """
        table, tensors = read_sealed(path, "encoder", "an encoder", "train")
        return cls(table["recipe"], tensors, table["report"])
