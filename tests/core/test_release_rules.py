"""How files of earlier schemas are opened, and how names end."""

from __future__ import annotations

import warnings

import pytest

from vid2dyn.core.deprecation import deprecated, renamed
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.schemas import upgraded

STEPS = (lambda header: {**header, "length_um": header["length"] * 1e3}, lambda header: {**header, "unit": "µm"})


def test_headers_pass_through_every_step_between() -> None:
    first = {"schema": 1, "length": 0.002}
    assert upgraded("a", first, STEPS) == {"schema": 3, "length": 0.002, "length_um": 2.0, "unit": "µm"}
    assert upgraded("a", {"schema": 2, "length_um": 5.0}, STEPS) == {"schema": 3, "length_um": 5.0, "unit": "µm"}
    assert first == {"schema": 1, "length": 0.002}, "the header of the file is left as it is"


@pytest.mark.parametrize("stated", [4, 99])
def test_a_later_schema_asks_for_an_update(stated: int) -> None:
    with pytest.raises(ModelError, match=rf"a\.vid2dyn: schema {stated}, this vid2dyn reads 1 to 3.*update vid2dyn"):
        upgraded("a.vid2dyn", {"schema": stated}, STEPS, ModelError)


@pytest.mark.parametrize("header", [{}, {"schema": "1"}, {"schema": 0}, {"schema": True}, {"schema": 1.0}, [1], None])
def test_what_states_no_schema_is_refused(header: object) -> None:
    with pytest.raises(DataError, match=r"a\.fields: schema .*Save or copy it again"):
        upgraded("a.fields", header)


def test_what_is_deprecated_works_and_names_version_and_replacement() -> None:
    def area(width: float, height: float = 1.0) -> float:
        """Width times height."""
        return width * height

    old = renamed("vd.size", "vd.area", since="0.2", until="0.4")(area)
    with pytest.warns(FutureWarning, match=r"vd\.size is deprecated since vid2dyn 0\.2 and ends with 0\.4\. "
                                           r"Write vd\.area") as said:
        assert old(2.0, height=3.0) == 6.0
    assert said[0].filename == __file__, "the warning names the line that has to change"
    assert old.__doc__ == area.__doc__
    with pytest.warns(FutureWarning) as said:
        deprecated("a", "b", since="1", until="2", stacklevel=1)
    assert said[0].filename == __file__


def test_nothing_public_warns_when_it_is_imported() -> None:
    import vid2dyn as vd

    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        for name in vd.__all__:
            getattr(vd, name)
