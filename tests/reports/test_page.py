"""The page says what the numbers are: against a model whose every answer is known."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.model.brownian import BrownianModel
from vid2dyn.reports.figures import picture
from vid2dyn.reports.page import contents
from vid2dyn.reports.sections.pair_energy import true_potential


class Known(BrownianModel):
    """A stand-in for a model: the truth of the simulation, three per cent off."""

    support = (1.1, 2.6)
    report = {  # noqa: RUF012
        "held_out": {"log_likelihood_per_step": 4.3125, "free_diffusion": 4.25},
        "calibration": {"chi2": 1.015, "chi2_stderr": 0.012, "lag1": -0.0123,
                        "z": {"edges": [-2.0, -1.0, 0.0, 1.0, 2.0], "counts": [14, 34, 34, 14]}},
        "laws": {"symmetry": 1e-17}, "warnings": ["Two particles were seen once only."]}

    def __init__(self, truth: dict[str, Any]) -> None:
        object.__setattr__(self, "known", truth)
        self.with_forces(3.0)

    def with_forces(self, cutoff: float | None) -> None:
        object.__setattr__(self, "recipe", {"kind": "Brownian", "cutoff": cutoff, "trap": "none"})

    def pair_potential(self, r: np.ndarray) -> np.ndarray:
        potential = true_potential(self.known, np.asarray(r))
        assert potential is not None
        return 1.03 * potential

    def diffusion(self) -> float:
        return 0.4173

    def localisation_error(self) -> float:
        return 0.0213

    def band(self, name: str, x: np.ndarray | None = None, level: float = 0.95) -> tuple[Any, Any]:
        if name == "diffusion":
            return 0.4111, 0.4255
        if name == "localisation_error":
            return 0.0193, 0.0233
        assert x is not None
        return self.pair_potential(x) - 0.25, self.pair_potential(x) + 0.25


@pytest.fixture(scope="module")
def tracks() -> vd.Trajectories:
    simulator = vd.simulators.Brownian(n_particles=80, frames=80, box_length=16.0, pair=vd.simulators.Yukawa(),
                                       exposure=0.01, localisation_error=0.02)
    return vd.simulate(simulator, seed=5)


@pytest.fixture(scope="module")
def page(tracks: vd.Trajectories) -> dict[str, Any]:
    return contents(tracks, model=Known(tracks.info["truth"]), rollout=tracks)


def cards(page: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {card["label"]: card for card in page["cards"]}


def section(page: dict[str, Any], name: str) -> Any:
    return next(s for s in page["sections"] if s.id == name)


def test_headline_numbers_with_errors_and_truth(page: dict[str, Any], tracks: vd.Trajectories) -> None:
    shown = cards(page)
    assert shown["Diffusion coefficient, model"]["value"] == "0.4173 ± 0.0037 µm²/s"
    assert "0.411 to 0.425" in shown["Diffusion coefficient, model"]["detail"]
    assert shown["Diffusion coefficient, model"]["truth"] == "0.405 µm²/s"
    measured = vd.diffusion(tracks)
    value, error = re.findall(r"[\d.]+", shown["Diffusion coefficient, displacements"]["value"])[:2]
    assert float(value) == pytest.approx(measured.D, abs=0.6 * 10.0 ** -len(value.split(".")[1]))
    assert float(error) == pytest.approx(measured.D_stderr, rel=0.05)
    assert shown["Localisation error"]["value"] == "21.3 ± 1.0 nm"
    alone = cards(contents(tracks))["Localisation error"]["value"]
    assert float(alone.split()[0]) == pytest.approx(1e3 * measured.localisation_error, rel=0.02)
    assert shown["Localisation error"]["truth"] == "20 nm"


def test_viscosity_is_shown_where_radius_and_temperature_are_known(tracks: vd.Trajectories) -> None:
    known = tracks.with_units(temperature=293.0, particle_radius=0.5)
    value = float(cards(contents(known))["Viscosity"]["value"].split()[0])
    kT, D = 1.380649e-23 * 293, vd.diffusion(tracks).D * 1e-12
    assert value == pytest.approx(1e3 * kT / (6 * np.pi * 0.5e-6 * D), rel=0.02)
    assert "Viscosity" not in cards(contents(tracks))


def test_potential_table_has_value_band_and_truth(page: dict[str, Any], tracks: vd.Trajectories) -> None:
    table = section(page, "interactions").table
    assert table["head"] == ["r (µm)", "U (kT)", "95 % band", "truth"]
    pair = vd.simulators.Yukawa()
    for r, value, band, truth in table["rows"]:
        exact = float(pair.energy(float(r)))
        assert float(truth) == pytest.approx(exact, abs=0.011)
        assert float(value) == pytest.approx(1.03 * exact, abs=0.011)
        low, high = map(float, band.split(" to "))
        assert high - low == pytest.approx(0.5, abs=0.011)
    assert float(table["rows"][0][0]) == 1.1
    assert float(table["rows"][-1][0]) == 2.6


def test_warnings_of_every_stage_come_first_and_once(page: dict[str, Any], tracks: vd.Trajectories) -> None:
    noted = tracks.replace(info={**tracks.info, "warnings": ["The movie was cut.", "The movie was cut."]})
    warnings = contents(noted, model=Known(tracks.info["truth"]))["warnings"]
    assert warnings[0] == "The movie was cut."
    assert len(warnings) == len(set(warnings))
    assert "Two particles were seen once only." in warnings
    alone = contents(noted)["warnings"]
    for text in vd.diffusion(tracks).warnings:
        assert alone.count(text) == 1


def test_doubts_about_displacements_stay_beside_them_where_the_model_has_forces(tracks: vd.Trajectories) -> None:
    model = Known(tracks.info["truth"])
    doubts = list(vd.diffusion(tracks).warnings)
    assert doubts, "these particles repel, which the estimate from displacements notices"
    with_forces = contents(tracks, model=model)
    assert section(with_forces, "motion").doubts == doubts
    assert not set(doubts) & set(with_forces["warnings"])
    model.with_forces(None)
    without = contents(tracks, model=model)
    assert not section(without, "motion").doubts
    for text in doubts:
        assert sum(warning.endswith(text) for warning in without["warnings"]) == 1


def test_checks_and_provenance(page: dict[str, Any]) -> None:
    rows = dict(section(page, "trust").table["rows"])
    assert rows["held-out log-likelihood per particle and step"] == "4.312"
    assert rows["held out: free diffusion"] == "4.25", "entries without a name of their own are shown all the same"
    assert rows["χ² per residual (1)"] == "1.015 ± 0.012"
    settings = dict(page["provenance"]["rows"])
    assert settings["exposure"] == "0.01"
    assert settings["model.cutoff"] == "3"


def test_sections_without_data_are_left_out(tracks: vd.Trajectories) -> None:
    assert [s.id for s in contents(tracks)["sections"]] == ["seen", "motion"]
    assert [s.id for s in contents(tracks, rollout=tracks)["sections"]] == ["seen", "motion", "agreement"]


def test_model_without_pair_forces_has_no_potential(tracks: vd.Trajectories) -> None:
    model = Known(tracks.info["truth"])
    model.with_forces(None)
    assert [s.id for s in contents(tracks, model=model)["sections"]] == ["seen", "motion", "trust"]


def test_missing_calibration_is_a_sentence_on_the_page(tracks: vd.Trajectories, tmp_path: Path) -> None:
    bare = vd.Trajectories.from_dataframe(tracks.dataframe)
    text = vd.report(tmp_path / "bare.html", tracks=bare).read_text()
    assert "frames_per_second" in text
    assert 'id="motion"' not in text


def test_page_is_the_same_bytes_and_complete_html(tracks: vd.Trajectories, tmp_path: Path) -> None:
    model: Any = Known(tracks.info["truth"])
    a, b = (vd.report(tmp_path / name, tracks=tracks, model=model, rollout=tracks, title="x").read_text()
            for name in ("a.html", "b.html"))
    assert a == b
    assert a.startswith("<!doctype html>")
    assert a.rstrip().endswith("</html>")
    assert len(a) < 3e6
    for data in re.findall(r'src="data:image/[a-z+]+;base64,([^"]+)"', a):
        assert len(base64.b64decode(data)) > 1000


def test_picture_does_not_touch_global_settings() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    picture(lambda axes: axes.plot([0, 1], [0, 1]) and None)
    assert dict(matplotlib.rcParams) == before


def test_every_number_has_the_truth_of_its_own_name(tracks: vd.Trajectories) -> None:
    """D, stiffness and localisation error: found, band and truth are all different, and stand where they belong."""
    class Trapped(Known):
        def trap_stiffness(self) -> float:
            return 6.25

        def band(self, name: str, x: np.ndarray | None = None, level: float = 0.95) -> tuple[Any, Any]:
            return (5.5, 7.0) if name == "trap_stiffness" else super().band(name, x, level)

    truth = {"diffusion": 0.405, "trap_stiffness": 5.75, "localisation_error": 0.0222}
    model = Trapped(tracks.info["truth"])
    object.__setattr__(model, "recipe", {"kind": "Brownian", "cutoff": None, "trap": "each"})
    shown = cards(contents(tracks, model=model, truth=truth))
    assert shown["Diffusion coefficient, model"]["value"].startswith("0.4173 ±")
    assert shown["Diffusion coefficient, model"]["truth"] == "0.405 µm²/s"
    assert shown["Trap stiffness"]["value"].startswith("6.2")
    assert shown["Trap stiffness"]["detail"].startswith("95 % band 5.5 to 7")
    assert shown["Trap stiffness"]["truth"] == "5.75 kT/µm²"
    assert shown["Localisation error"]["truth"] == "22.2 nm"
    alone = cards(contents(tracks, truth=truth))
    assert alone["Diffusion coefficient, displacements"]["truth"] == "0.405 µm²/s"


def test_differences_stand_under_their_own_heads(tracks: vd.Trajectories) -> None:
    """Of every curve: what the comparison says it differs by, and what noise alone would make."""
    other = vd.simulate(vd.simulators.Brownian(n_particles=80, frames=80, box_length=16.0, exposure=0.01,
                                               localisation_error=0.02), seed=6)
    comparison = vd.compare(tracks, other)
    table = section(contents(tracks, rollout=other, comparison=comparison), "agreement").table
    assert table["head"] == ["", "relative RMSE", "from noise alone"]
    shown = {name: (differs, noise) for name, differs, noise in table["rows"]}
    assert set(shown) == {curve.name for curve in comparison.curves}
    for curve in comparison.curves:
        differs, noise = (f"{100 * value:.1f} %" for value in (curve.relative_rmse, curve.relative_rmse_of_noise))
        assert shown[curve.name] == (differs, noise)
    apart = next(curve for curve in comparison.curves if curve.name == "RDF")
    assert apart.relative_rmse > 2 * apart.relative_rmse_of_noise, "one has forces, the other has none"


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_line_beside_the_mean_squared_displacement(dim: int) -> None:
    """2 dim [D (t - 2 R dt) + s²] of the estimate, which is drawn, and goes through the points of free particles.

    Points and line are of the same data: they agree within 3 % at lags 1 to 3; a dimension more or less is a third.
    """
    from matplotlib.figure import Figure

    from vid2dyn.reports.drawing import EstimatedMSD, msd
    from vid2dyn.reports.figures import PAGE

    rng, D, dt, s = np.random.default_rng(4), 0.5, 0.02, 0.05
    steps, noise = rng.normal(size=(2, 60, 200, dim))
    path = np.cumsum(steps * np.sqrt(2 * D * dt), axis=0) + s * noise
    moving = vd.Trajectories.from_dense(path, vd.Units(1.0, 1 / dt, exposure=0.0))
    measured = vd.diffusion(moving)
    found = EstimatedMSD.of(moving, measured)
    expected = 2 * dim * (measured.D * found.lag + measured.localisation_error**2)
    np.testing.assert_allclose(found.line, expected, rtol=1e-12)
    np.testing.assert_allclose(found.line[:3] / found.value[:3], 1.0, atol=0.03)
    assert found.floor == pytest.approx(2 * dim * measured.localisation_error**2, rel=1e-12)
    axes = Figure().subplots()
    msd(axes, found, PAGE, "free diffusion")
    drawn = next(line for line in axes.lines if line.get_label() == "free diffusion")
    np.testing.assert_array_equal(drawn.get_ydata(), found.line)
    blurred = EstimatedMSD.of(moving.with_units(exposure=dt), measured)
    np.testing.assert_allclose(blurred.line, expected - 2 * dim * measured.D * dt / 3, rtol=1e-12)
