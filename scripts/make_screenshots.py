"""Pictures of every section of the napari panel, 1600 x 1000, from the sample data; two of them are in the docs.

    xvfb-run -a -s "-screen 0 1920x1200x24" python scripts/make_screenshots.py screenshots
    python scripts/make_screenshots.py screenshots --readme     # also the two small ones, under napari_plugin/images

Drives the real widgets: opens, previews, tracks, fits, rolls out, exports; for the video, the gas, the lattice and
a sheet that is sheared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parents[1] / "napari_plugin" / "images"
README = {"3_track": "track.png", "6_rollout": "rollout.png"}
KILOBYTES = 300


class Screenshots:
    """A viewer with the panel, and a folder for its pictures."""

    def __init__(self, folder: Path) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        from vid2dyn_napari.panel import open_panel

        self.folder = folder
        self.viewer = napari.Viewer(title="vid2dyn")
        self.viewer.window.resize(1600, 1000)
        self.panel = open_panel(self.viewer)
        self.app = QApplication.instance()
        self.settle()

    def settle(self, seconds: float = 0.7) -> None:
        """Let the window do what it has to."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.01)

    def wait(self, condition: Callable[[], bool], seconds: float = 240.0) -> None:
        """Until `condition`; TimeoutError with every message of the panel else."""
        end = time.monotonic() + seconds
        while not condition():
            self.settle(0.02)
            if time.monotonic() > end:
                raise TimeoutError("\n".join(f"{name}: {s.message.text()}" for name, s in self.panel.sections.items()))
        self.settle(0.2)

    def idle(self) -> None:
        """Until no verb runs."""
        self.wait(lambda: not self.panel.worker.busy)

    def only(self, name: str) -> Any:
        """Open one section and close the others."""
        for other in self.panel.sections:
            self.panel.sections[other].unfold(other == name)
        self.settle(0.1)
        return self.panel.sections[name]

    def picture(self, name: str) -> Path:
        """Write one picture, when everything has found its place."""
        before: list[Any] = []
        for _ in range(20):
            self.settle()
            now = [section.geometry() for section in self.panel.sections.values()]
            if now == before:
                break
            before = now
        path = self.folder / f"{name}.png"
        self.viewer.window.screenshot(str(path), flash=False, canvas_only=False)
        print(path)
        return path

    def close(self) -> None:
        """Done with this viewer."""
        self.panel.stop()
        self.viewer.close()
        self.settle(0.2)


def video(screenshots: Screenshots) -> Iterator[Path]:
    """From the sample recording to its model, every section."""
    panel = screenshots.panel
    screenshots.only("Open").sample_button.click()
    screenshots.idle()
    panel.sections["Open"].path.setText("sample_data/clip.tif")
    panel.sections["Detect"].unfold(False)
    yield screenshots.picture("1_open")
    detect = screenshots.only("Detect")
    detect.form.fill({"diameter": 9})
    detect.preview_later()
    screenshots.wait(lambda: "preview" in panel.workspace.ours)
    yield screenshots.picture("2_detect")
    track = screenshots.only("Track and check")
    track.form.fill({"search_range": 5.0, "memory": 2, "min_length": 5})
    track.track_button.click()
    screenshots.idle()
    panel.viewer.dims.set_current_step(0, 60)
    yield screenshots.picture("3_track")
    fit = screenshots.only("Fit")
    fit.form.fill({"cutoff": 3.0})
    fit.fit_button.click()
    screenshots.wait(lambda: len(fit.canvas.figure.axes) == 2 or not panel.worker.busy)
    yield screenshots.picture("4_fitting")
    screenshots.idle()
    panel.sections["Learned model"].unfold(False)
    yield screenshots.picture("4_fit")
    screenshots.only("Learned model")
    yield screenshots.picture("5_learned")
    roll = screenshots.only("Roll out")
    roll.run_button.click()
    screenshots.idle()
    panel.viewer.dims.set_current_step(0, 80)
    yield screenshots.picture("6_rollout")
    export = screenshots.only("Export")
    with tempfile.TemporaryDirectory() as folder:
        export.folder.setText(folder)
        export.export_button.click()
        screenshots.idle()
        export.folder.setText("results")
        export.say(export.message.text().replace(folder, "results"), "good")
        yield screenshots.picture("7_export")


def gas(screenshots: Screenshots) -> Iterator[Path]:
    """The simulated gas: particles coloured by their entropy, the fluid that is learned, and its budgets."""
    opening = screenshots.only("Open")
    opening.sample.setCurrentIndex(1)
    opening.sample_button.click()
    screenshots.idle()
    screenshots.panel.viewer.dims.set_current_step(0, 60)
    yield screenshots.picture("8_gas")
    fit = screenshots.only("Fit")
    fit.form.fill({**fit.form.values(), "compare": (), "bend": False, "cold": False})
    fit.fit_button.click()
    screenshots.wait(lambda: len(fit.likelihoods.get("fluid", ([],))[0]) >= 3 or not screenshots.panel.worker.busy)
    screenshots.settle(0.5)
    yield screenshots.picture("8_gas_fitting")
    screenshots.idle()
    screenshots.only("Learned model")
    yield screenshots.picture("8_gas_learned")
    screenshots.only("Roll out").run_button.click()
    screenshots.idle()
    screenshots.panel.viewer.dims.set_current_step(0, 60)
    yield screenshots.picture("8_gas_rollout")


def lattice(screenshots: Screenshots) -> Iterator[Path]:
    """Lattice fields: f and m beside the exact ones, profiles in time."""
    opening = screenshots.only("Open")
    opening.sample.setCurrentIndex(2)
    opening.sample_button.click()
    screenshots.idle()
    yield screenshots.picture("9_lattice")
    screenshots.only("Fit").fit_button.click()
    screenshots.idle()
    screenshots.panel.sections["Learned model"].unfold(False)
    yield screenshots.picture("9_lattice_fit")
    screenshots.only("Learned model")
    yield screenshots.picture("9_lattice_learned")
    screenshots.only("Roll out").run_button.click()
    screenshots.idle()
    yield screenshots.picture("9_lattice_rollout")


def sheet(screenshots: Screenshots) -> Iterator[Path]:
    """A sheet sheared by a needle: species, the packed fit, rearrangements and stress-strain loops."""
    import vid2dyn as vd

    panel = screenshots.panel
    film = vd.simulators.Needle(gap=60.0, width=70.0, frames=61, strain=0.05, frequency=0.5)
    panel.session.simulate(film, seed=4)
    panel.workspace.show_data()
    screenshots.only("Sheet")
    yield screenshots.picture("10_sheet_species")
    fit = screenshots.only("Fit")
    fit.kind.setCurrentText("Brownian")
    fit.form.fill({"cutoff": 14.0, "species": "species", "packed": True, "held": "held", "diffusion": 0.4,
                   "pair_friction": 10.5})
    fit.fit_button.click()
    screenshots.idle()
    screenshots.only("Learned model")
    yield screenshots.picture("10_sheet_learned")
    screenshots.only("Roll out").run_button.click()
    screenshots.idle()
    screenshots.only("Sheet").measure_button.click()
    screenshots.idle()
    panel.viewer.dims.set_current_step(0, 15)
    yield screenshots.picture("10_sheet")


def small(source: Path, target: Path) -> None:
    """A picture for the README: fewer colours, and narrower where that is not enough."""
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    for width in (1600, 1400, 1200, 1000):
        image = Image.open(source).convert("RGB")
        image = image.resize((width, round(width * image.height / image.width)), Image.Resampling.LANCZOS)
        image.quantize(160, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size < 1024 * KILOBYTES:
            print(target, target.stat().st_size // 1024, "kB")
            return
    raise SystemExit(f"{target}: more than {KILOBYTES} kB at any width")


def main() -> None:
    """Everything, one viewer after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", action="store_true", help="also write the two pictures of the README")
    parser.add_argument("--only", choices=("video", "gas", "lattice", "sheet"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for story in (video, gas, lattice, sheet):
        if options.only in (None, story.__name__):
            screenshots = Screenshots(options.folder)
            for path in story(screenshots):
                if options.readme and path.stem in README:
                    small(path, IMAGES / README[path.stem])
            screenshots.close()


if __name__ == "__main__":
    main()
