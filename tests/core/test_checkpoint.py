"""Checkpoints: nothing is rounded, other data are never used, damage is told from absence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vid2dyn.core.checkpoint import ARRAYS, NOWHERE, NUMBERS, Checkpoint, Format, key_of
from vid2dyn.core.errors import ModelError

STATE = {"x": np.array([[0.1, np.inf, -0.0]]), "scale": np.array([1e-300])}


@pytest.mark.parametrize("form", [NUMBERS, ARRAYS])
def test_what_was_kept_comes_back_to_the_bit(form: Format, tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "kept", key_of("settings", np.arange(3)), form)
    assert place.load() is None
    place.save(STATE)
    found = place.load()
    assert found is not None
    assert all(found[name].tobytes() == value.tobytes() and found[name].shape == value.shape
               for name, value in STATE.items())
    first = (tmp_path / "kept").read_bytes()
    place.save(found)
    assert (tmp_path / "kept").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["kept"], "no scratch file is left"


def test_arrays_keep_type_and_shape(tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "kept", "key", ARRAYS)
    place.save({"step": np.float32(7.0), "count": np.array([3], np.int64)})
    found = place.load()
    assert found is not None
    assert found["step"].shape == ()
    assert (found["step"].dtype, found["count"].dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("form", [NUMBERS, ARRAYS])
def test_a_checkpoint_of_other_data_is_never_used(form: Format, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "kept", "one", form).save(STATE)
    assert Checkpoint(tmp_path / "kept", "other", form).load() is None
    with pytest.raises(ModelError, match="another run"):
        Checkpoint(tmp_path / "kept", "other", form, refuse_others=True).load()


@pytest.mark.parametrize("form", [NUMBERS, ARRAYS])
@pytest.mark.parametrize("content", [b"", b"not one", b"{}", b"[1]"])
def test_a_damaged_checkpoint_is_an_error(form: Format, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(content)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        Checkpoint(tmp_path / "kept", "key", form).load()


def test_nowhere_keeps_nothing() -> None:
    NOWHERE.save(STATE)
    assert NOWHERE.load() is None
