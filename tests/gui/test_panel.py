"""The panel, driven as a user drives it: typing, clicking, waiting; in a window under Xvfb."""

from __future__ import annotations

import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd

pytestmark = pytest.mark.window
ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "sample_data" / "clip.tif"
LONG = 120_000


def section(panel: Any, name: str) -> Any:
    found = panel.sections[name]
    found.unfold()
    return found


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def type_in(qtbot: Any, field: Any, text: str) -> None:
    field.edit.selectAll()
    qtbot.keyClicks(field.edit, text)


def done(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)


def open_clip(qtbot: Any, panel: Any) -> None:
    opening = section(panel, "Open")
    opening.path.setText("")
    qtbot.keyClicks(opening.path, str(CLIP))
    click(qtbot, opening.open_button)
    done(qtbot, panel)
    assert panel.session.ready("video"), opening.message.text()


def track_clip(qtbot: Any, panel: Any, stop: str = "60") -> None:
    open_clip(qtbot, panel)
    type_in(qtbot, section(panel, "Detect").form.fields["diameter"], "9")
    tracking = section(panel, "Track and check")
    for name, text in (("memory", "2"), ("min_length", "5"), ("stop", stop)):
        type_in(qtbot, tracking.form.fields[name], text)
    click(qtbot, tracking.track_button)
    done(qtbot, panel)
    assert panel.session.ready("tracks"), tracking.message.text()


def test_the_whole_way(panel: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_clip(qtbot, panel)
    assert panel.session.video.units.frames_per_second == 80
    assert section(panel, "Open").units.values()["frames_per_second"] == 80, "what the file knows is filled in"
    checked = section(panel, "Track and check")
    assert "D = 0." in checked.result.text()
    assert set(checked.canvas.cuts) == {"mass", "size", "ecc"}
    assert panel.workspace.ours["tracks"].data.shape[1] == 4

    fit = section(panel, "Fit")
    fit.form.fill({"cutoff": None})
    click(qtbot, fit.fit_button)
    done(qtbot, panel)
    assert panel.session.model is not None, fit.message.text()
    assert "µm²/s" in section(panel, "Learned model").numbers.text()

    roll = section(panel, "Roll out")
    click(qtbot, roll.run_button)
    done(qtbot, panel)
    assert {"model", "model particles"} <= set(panel.workspace.ours), roll.message.text()
    data, model = panel.workspace.ours["tracks"], panel.workspace.ours["model"]
    assert model.scale[0] == pytest.approx(1 / 80), "one slider of seconds for data and model"
    assert model.translate[-1] > data.data[:, 3].max() * data.scale[-1], "beside the data"
    panel.viewer.dims.set_current_step(0, 30)
    assert panel.workspace.time == pytest.approx(30 / 80)
    assert panel.viewer.dims.axis_labels[0] == panel.viewer.canvas.overlays.text.text == "0.375 s", "time on the slider"
    future = panel.session.future
    assert len(panel.workspace.ours["model particles"].data) == (future.frame == 30).sum()

    export = section(panel, "Export")
    export.folder.setText("")
    qtbot.keyClicks(export.folder, str(tmp_path / "out"))
    click(qtbot, export.export_button)
    done(qtbot, panel)
    out = tmp_path / "out"
    assert {"tracks.parquet", "model.vid2dyn", "rollout.parquet", "session.py", "session.toml", "report.html"} <= {
        path.name for path in out.iterdir()}, export.message.text()

    monkeypatch.setattr(sys, "argv", ["session.py", str(tmp_path / "again")])
    runpy.run_path(str(out / "session.py"), run_name="__main__")
    for name in ("tracks.parquet", "model.vid2dyn", "rollout.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_live_preview_follows_settings_and_slider(panel: Any, qtbot: Any) -> None:
    open_clip(qtbot, panel)
    detect = section(panel, "Detect")
    type_in(qtbot, detect.form.fields["diameter"], "9")
    qtbot.waitUntil(lambda: "preview" in panel.workspace.ours, timeout=LONG)
    exact = vd.tracking.detector(vd.tracking.Track(diameter=9, minmass=0.0))
    first = panel.workspace.ours["preview"].data.copy()
    assert len(first) == pytest.approx(len(exact(panel.session.video[0])), abs=3)
    panel.viewer.dims.set_current_step(0, 50)
    qtbot.waitUntil(lambda: "frame 50" in detect.message.text(), timeout=LONG)
    now = panel.workspace.ours["preview"].data
    assert now.shape != first.shape or not np.allclose(now, first)
    type_in(qtbot, detect.form.fields["minmass"], "100000")
    qtbot.waitUntil(lambda: detect.message.text().startswith("0 particles"), timeout=LONG)
    type_in(qtbot, detect.form.fields["diameter"], "10")
    qtbot.waitUntil(lambda: "odd number" in detect.message.text(), timeout=LONG)
    assert "preview" not in panel.workspace.ours
    type_in(qtbot, detect.form.fields["diameter"], "11")
    detect.form.fields["minmass"].edit.clear()
    detect.preview_later()
    qtbot.waitUntil(lambda: "preview" in panel.workspace.ours, timeout=LONG)
    detect.unfold(False)
    assert "preview" not in panel.workspace.ours, "no preview behind a closed section"


def test_cancel_in_mid_track_keeps_what_is_done(panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip(qtbot, panel)
    plain = vd.track
    vd.diffusion(plain(panel.session.video[:12], diameter=9, min_length=2))       # compiled before the clock runs

    def slow(*arguments: Any, progress: Any, **more: Any) -> Any:
        def tell(*now: Any) -> None:
            time.sleep(0.02)
            progress(*now)
        return plain(*arguments, progress=tell, **more)

    monkeypatch.setattr(vd, "track", slow)
    tracking = section(panel, "Track and check")
    click(qtbot, tracking.track_button)
    qtbot.waitUntil(lambda: tracking.bar.value() > 5, timeout=LONG)
    begin = time.perf_counter()
    click(qtbot, tracking.cancel_button)
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=5000)
    assert time.perf_counter() - begin < 2.5
    done_frames = panel.session.tracks.n_frames
    assert 5 < done_frames < 210
    assert "Cancelled" in tracking.message.text()
    assert panel.session.steps["track"].arguments["settings"].stop == done_frames


def test_cancel_in_mid_fit_is_quick_and_changes_nothing(panel: Any, qtbot: Any,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    track_clip(qtbot, panel, "30")
    started, ended = threading.Event(), threading.Event()

    def deaf(*_: Any, **__: Any) -> Any:
        started.set()
        time.sleep(2.0)                                   # reports no progress, as a long compiled step does not
        ended.set()
        return "a model that nobody wants"

    monkeypatch.setattr(vd, "fit", deaf)
    fit = section(panel, "Fit")
    click(qtbot, fit.fit_button)
    qtbot.waitUntil(started.is_set, timeout=LONG)
    begin = time.perf_counter()
    click(qtbot, fit.cancel_button)
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)
    assert time.perf_counter() - begin < 1.0
    assert "Cancelled" in fit.message.text()
    qtbot.waitUntil(ended.is_set, timeout=LONG)
    qtbot.wait(100)
    assert panel.session.model is None, "what ends after it was cancelled is dropped"


def test_a_fit_shows_how_it_converges_and_goes_on_after_a_cancel(panel: Any, qtbot: Any,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    gas = vd.simulators.SDPD(n_particles=100, frames=4, box_length=0.6, equilibration=2)
    panel.session.simulate(gas, seed=0)
    panel.workspace.show_data()
    fit = section(panel, "Fit")
    assert fit.kind.currentText() == "Metriplectic", "these data have velocities"
    assert fit.form.values() == {"cutoff": gas.cutoff, "mass": gas.mass}
    seen: list[Any] = []

    def steps(data: Any, recipe: Any, seed: int, progress: Any, checkpoint: Any, **_: Any) -> Any:
        seen.append(checkpoint)
        checkpoint.write_text("a round")
        for k in range(1000):
            progress(k, 1000, "fit")
            progress.converging(k, 10.0 ** (-k / 100), "nats left to gain")
            progress.likelihood(k, 1.0 - 1 / (k + 1), 0.9 - 1 / (k + 1), "fluid")
            time.sleep(0.01)

    monkeypatch.setattr(vd, "fit", steps)
    for press in (fit.fit_button, fit.resume_button):
        click(qtbot, press)
        qtbot.waitUntil(lambda: len(fit.canvas.figure.axes) == 2, timeout=LONG)
        click(qtbot, fit.cancel_button)
        done(qtbot, panel)
        assert "Resume goes on" in fit.message.text()
    worth, left = fit.canvas.figure.axes
    assert [line.get_label() for line in worth.lines] == ["train", "held-out"]
    assert (worth.lines[0].get_ydata() > worth.lines[1].get_ydata()).all()
    assert left.lines[0].get_label() == "nats left to gain"
    assert seen[0] is not None
    assert seen[0] == seen[1], "the same checkpoint, so the second fit goes on where the first was"
    assert "fit" not in panel.session.steps


@pytest.mark.parametrize("what", ["particles", "fields"])
def test_stop_keeps_the_best_and_resume_ends_as_if_nothing_had_been(panel: Any, qtbot: Any, tmp_path: Path, what: str,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """The real fits, stopped by a click after two rounds: a model to use, a script that says so, the same end."""
    simulator = vd.simulators.Arrhenius(kernel=(1.0,), sites=100, realisations=100) if what == "fields" else \
        vd.simulators.Brownian(n_particles=50, frames=60, box_length=10.0, pair=vd.simulators.Yukawa())
    panel.session.simulate(simulator, seed=0)
    panel.workspace.show_data()
    fit = section(panel, "Fit")
    if what == "particles":
        type_in(qtbot, fit.form.fields["cutoff"], "3.0")
    recipe = fit.form.build()
    whole = vd.fit(panel.session.data, recipe, seed=0)
    plain, slow = vd.fit, [True]

    def patient(*arguments: Any, progress: Any, **more: Any) -> Any:
        """Slow enough to be stopped after the second round."""
        class Watch:
            rounds = 0

            def __call__(self, *now: Any) -> None:
                while slow[0] and self.rounds >= 2:
                    time.sleep(0.01)
                    progress(*now)
                progress(*now)

            def likelihood(self, *now: Any) -> None:
                self.rounds += 1
                progress.likelihood(*now)

        return plain(*arguments, progress=Watch(), **more)

    monkeypatch.setattr(vd, "fit", patient)
    click(qtbot, fit.fit_button)
    qtbot.waitUntil(lambda: len(next(iter(fit.likelihoods.values()), ([],))[0]) == 2, timeout=LONG)
    click(qtbot, fit.cancel_button)
    done(qtbot, panel)
    early = panel.session.model.report["stopped_early"]
    assert early["rounds"] == 2, fit.message.text()
    assert "Stopped after round 2" in fit.message.text()
    assert "Stopped early" in fit.result.text()
    assert "Stopped early" in section(panel, "Learned model").numbers.text()
    assert "stop=2" in panel.session.script()
    if what == "particles":
        assert "stop = 2" in panel.session.toml()
        page = vd.report(tmp_path / "page.html", tracks=panel.session.tracks, model=panel.session.model)
        assert "Stopped early, after 2 of" in page.read_text()
    slow[0] = False
    click(qtbot, fit.resume_button)
    done(qtbot, panel)
    assert not fit.resume_button.isVisible()
    assert panel.session.model.save(tmp_path / "a.vid2dyn").read_bytes() == \
        whole.save(tmp_path / "b.vid2dyn").read_bytes()
    assert "stop=" not in panel.session.script()


def test_closing_the_viewer_while_a_fit_runs(make_napari_viewer: Any, qtbot: Any,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from vid2dyn_napari.panel import open_panel

    viewer = make_napari_viewer(show=True)
    panel = open_panel(viewer)
    qtbot.waitUntil(panel.isVisible, timeout=LONG)
    track_clip(qtbot, panel, "30")
    told: list[str] = []

    def endless(data: Any, recipe: Any, seed: int, progress: Any, **_: Any) -> Any:
        try:
            while True:
                time.sleep(0.01)
                progress(0, 2, "fit")
        finally:
            told.append("stopped")

    monkeypatch.setattr(vd, "fit", endless)
    click(qtbot, section(panel, "Fit").fit_button)
    qtbot.wait(100)
    session = panel.session
    viewer.close()                                        # as the cross of the window does
    qtbot.waitUntil(lambda: told == ["stopped"], timeout=5000)
    assert session.model is None


@pytest.mark.parametrize(("name", "content", "said"), [
    ("broken.tif", b"II*\0garbage", "broken.tif"), ("empty.avi", b"", "empty"), ("model.vid2dyn", b"x" * 50, "model")])
def test_broken_file_is_said_in_words(panel: Any, qtbot: Any, tmp_path: Path, name: str, content: bytes,
                                      said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    opening = section(panel, "Open")
    qtbot.keyClicks(opening.path, str(path))
    click(qtbot, opening.open_button)
    done(qtbot, panel)
    assert said in opening.message.text()
    assert "unexpected" not in opening.message.text()
    assert not panel.session.steps


def test_what_a_stranger_may_do_wrong_is_said_in_words(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    track_clip(qtbot, panel, "20")
    tracking, before = section(panel, "Track and check"), panel.session.tracks
    type_in(qtbot, tracking.form.fields["min_length"], "5000")
    click(qtbot, tracking.track_button)
    done(qtbot, panel)
    assert "None is seen in 5000 frames" in tracking.message.text()
    fit = section(panel, "Fit")
    for name, text, said in (("cutoff", "-1", "Brownian: cutoff = -1.0 must be"), ("cutoff", "99", "too small for"),
                             ("cutoff", "x", "not a number")):
        type_in(qtbot, fit.form.fields[name], text)
        if fit.fit_button.isEnabled():
            click(qtbot, fit.fit_button)
            done(qtbot, panel)
            assert said in fit.message.text()
            assert "Brownian: Brownian" not in fit.message.text()
    export = section(panel, "Export")
    (tmp_path / "a file").write_text("")
    export.folder.setText(str(tmp_path / "a file" / "out"))
    click(qtbot, export.export_button)
    done(qtbot, panel)
    assert "cannot be made" in export.message.text()
    assert panel.session.tracks is before, "what was there is still there"


def test_dragged_cut_becomes_a_setting(panel: Any, qtbot: Any) -> None:
    track_clip(qtbot, panel, "20")
    tracking = section(panel, "Track and check")
    before = len(panel.session.tracks)
    tracking.canvas.draw()
    cut = tracking.canvas.cuts["mass"]
    mass = float(np.median(panel.session.tracks.dataframe["mass"]))
    height = tracking.canvas.height()

    def at(x: float) -> Any:
        from qtpy.QtCore import QPoint

        ratio = tracking.canvas.device_pixel_ratio
        px, py = cut.ax.transData.transform((x, np.mean(cut.ax.get_ylim())))
        return QPoint(round(px / ratio), round(height - py / ratio))

    from qtpy.QtCore import Qt

    qtbot.mousePress(tracking.canvas, Qt.MouseButton.LeftButton, pos=at(cut.place))
    qtbot.mouseMove(tracking.canvas, at(mass))
    qtbot.mouseRelease(tracking.canvas, Qt.MouseButton.LeftButton, pos=at(mass))
    assert section(panel, "Detect").form.values()["minmass"] == pytest.approx(mass, rel=0.05)
    assert "press Track" in tracking.hint.text()
    click(qtbot, tracking.track_button)
    done(qtbot, panel)
    assert 0.2 * before < len(panel.session.tracks) < 0.8 * before
    assert "minmass" in panel.session.script()


def test_calibration_of_one_file_is_not_given_to_the_next(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    import tifffile

    open_clip(qtbot, panel)
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((3, 40, 50), np.uint8), photometric="minisblack")
    opening = section(panel, "Open")
    opening.path.setText(str(other))
    click(qtbot, opening.open_button)
    done(qtbot, panel)
    assert panel.session.video.units == vd.Units()
    assert "frame rate" in opening.message.text()
    type_in(qtbot, opening.units.fields["frames_per_second"], "25")
    click(qtbot, opening.open_button)
    done(qtbot, panel)
    assert panel.session.video.units.frames_per_second == 25
    assert panel.session.steps["open"].arguments["calibration"] == {"frames_per_second": 25.0}


def test_lattice_from_sample_to_profiles(panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vid2dyn_napari import samples

    small = vd.simulators.Arrhenius(kernel=(1.0,), sites=200, realisations=200)
    monkeypatch.setattr(samples, "lattice_settings", lambda: small)
    opening = section(panel, "Open")
    opening.sample.setCurrentIndex(2)
    click(qtbot, opening.sample_button)
    done(qtbot, panel)
    fit = section(panel, "Fit")
    assert [fit.kind.itemText(k) for k in range(fit.kind.count())] == ["GradientFlow"]
    click(qtbot, fit.fit_button)
    done(qtbot, panel)
    learned = section(panel, "Learned model").canvas.figure.axes
    assert [axes.get_title() for axes in learned] == ["mobility m", "free energy f", "second derivative f''",
                                                      "diffusion m f''"], fit.message.text()
    assert all({"95 % band", "learned", "truth"} == set(axes.get_legend_handles_labels()[1]) for axes in learned)
    roll = section(panel, "Roll out")
    type_in(qtbot, roll.forms[next(k for k in roll.forms if k.__name__ == "FieldRollout")].fields["steps"], "4")
    click(qtbot, roll.run_button)
    done(qtbot, panel)
    assert roll.lattice is not None, roll.message.text()
    places = {name: panel.workspace.ours[name] for name in ("density", "model")}
    heights = {name: layer.scale[1] * (layer.data.shape[1] - 1) for name, layer in places.items()}
    spans = {"density": np.ptp(panel.session.fields.times), "model": np.ptp(panel.session.future.times)}
    assert heights["density"] / heights["model"] == pytest.approx(spans["density"] / spans["model"], rel=0.02), \
        "the same time is at the same height"
    assert "data, model" in panel.viewer.canvas.overlays.text.text
    model, exact, carlo = panel.session.future, roll.lattice["exact"], roll.lattice["carlo"]
    for start in range(2):
        assert np.abs(model.values[start, -1] - exact[start][-1]).max() < 0.05
        mean = carlo.values[carlo.starts == start][:, -1].mean(axis=0).reshape(10, -1).mean(axis=1)
        assert np.abs(mean - exact[start][-1].reshape(10, -1).mean(axis=1)).max() < 0.06
    type_in(qtbot, roll.forms[vd.runs.experiment.FieldRollout].fields["cells"], "50")
    click(qtbot, roll.run_button)
    done(qtbot, panel)
    assert panel.session.future.n_cells == 50, roll.message.text()
    assert not roll.message.text()
    script = panel.session.script()
    assert "vd.GradientFlow(elements=" in script
    assert "dt=" in script


def test_what_napari_opens_by_itself_is_taken(panel: Any, qtbot: Any) -> None:
    panel.viewer.open(str(CLIP), plugin="vid2dyn")
    assert panel.session.ready("video")
    assert panel.session.steps["open"].arguments["path"] == CLIP
    assert "clip" in section(panel, "Open").message.text()


def test_the_menus_open_the_panel(make_napari_viewer: Any) -> None:
    from vid2dyn_napari.panel import Panel, open_here

    viewer = make_napari_viewer()
    made = open_here()
    assert isinstance(made, Panel)
    viewer.add_points(np.zeros((1, 2)), name="here")
    assert [layer.name for layer in made.viewer.layers] == ["here"]
    made.stop()


def test_tracks_of_another_plugin_are_taken(panel: Any, qtbot: Any) -> None:
    rows = [[k, t, 10 + k + 0.1 * t, 20.0] for k in range(3) for t in range(30)]
    layer = panel.viewer.add_tracks(np.array(rows, float), scale=(0.5, 0.2, 0.2), units=("s", "um", "um"))
    panel.viewer.layers.selection.active = layer
    click(qtbot, section(panel, "Open").layer_button)
    tracks = panel.session.tracks
    assert tracks.n_particles == 3
    assert tracks.units.frames_per_second == pytest.approx(2.0)
    assert tracks.units.micrometre_per_pixel == pytest.approx(0.2)


def test_forms_have_units_help_and_all_kinds_of_fields(qtbot: Any) -> None:
    from vid2dyn_napari.forms import form

    made = form(vd.simulators.Brownian)
    qtbot.addWidget(made)
    assert set(made.fields) == set(vd.core.config.settings(vd.simulators.Brownian))
    assert all(field.toolTip() for field in made.fields.values())
    full = vd.simulators.Brownian(n_particles=7, pair=vd.simulators.Yukawa(amplitude=2.5), trap="shared",
                                  trap_stiffness=0.3, box_length=None)
    made.fill({name: getattr(full, name) for name in made.fields})
    assert made.build() == full
    made.fields["n_particles"].edit.setText("seven")
    with pytest.raises(vd.ConfigError, match="n_particles"):
        made.values()
    lattice = form(vd.simulators.Arrhenius)
    qtbot.addWidget(lattice)
    odd = vd.simulators.Arrhenius(kernel=(0.5, -0.25), starts=((0.4, 0.1, 2),), windows=(5.0, 7.5))
    lattice.fill({name: getattr(odd, name) for name in lattice.fields})
    assert lattice.build() == odd


def test_view_opens_a_run(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from vid2dyn_napari.panel import open_panel
    from vid2dyn_napari.view import fill, members

    gas = vd.simulate(vd.simulators.Brownian(n_particles=15, frames=40, box_length=15.0), seed=0)
    model = vd.fit(gas, vd.Brownian())
    gas.save(tmp_path / "tracks.parquet")
    model.save(tmp_path / "model.vid2dyn")
    model.rollout(gas, steps=40, seed=1).save(tmp_path / "rollout.parquet")
    panel = open_panel(make_napari_viewer())
    fill(panel, members(tmp_path))
    done(qtbot, panel)
    assert panel.session.ready("tracks", "model", "future")
    assert {"tracks", "model"} <= set(panel.workspace.ours), [s.message.text() for s in panel.sections.values()]
    panel.stop()


def test_manifest_is_valid_and_found() -> None:
    from npe2 import DynamicPlugin, PluginManager, PluginManifest  # noqa: F401

    manifest = PluginManifest.from_distribution("vid2dyn")
    manifest.validate_imports()
    manager = PluginManager.instance()
    manager.discover()
    assert "vid2dyn" in [m.name for m in manager.iter_manifests()]
    assert {w.display_name for w in manifest.contributions.widgets or ()} == {"Video to model"}


def test_an_empty_field_says_what_empty_means(qtbot: Any) -> None:
    """Nothing is called automatic that is not; an empty range of the pair force means that it is found."""
    from vid2dyn_napari.forms import form

    brownian = form(vd.Brownian)
    qtbot.addWidget(brownian)
    cutoff = brownian.fields["cutoff"]
    assert "particles do not interact" in cutoff.toolTip()
    assert cutoff.edit.text() == "auto"
    type_in(qtbot, cutoff, "")
    assert cutoff.edit.placeholderText() == "auto"
    assert brownian.build().cutoff == "auto"
    type_in(qtbot, cutoff, "none")
    assert brownian.build().cutoff is None
    type_in(qtbot, cutoff, "3")
    assert brownian.build().cutoff == 3.0
    track = form(vd.tracking.Track)
    qtbot.addWidget(track)
    assert track.fields["minmass"].edit.placeholderText() == "it is chosen from the movie"
    assert track.fields["separation"].edit.placeholderText().startswith("none is dropped")
    assert track.fields["search_range"].edit.placeholderText() != "automatic"
