"""Progress: what users may give, who hears what, and bars that end with the work however it ends."""

from __future__ import annotations

import io
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import vid2dyn as vd
from vid2dyn.core import bars
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.showing import as_progress, showing

GAS = vd.simulators.Brownian(n_particles=20, frames=60, box_length=12.0)


class Chart(vd.Progress):
    """Keeps what it hears; cancels at the call of number `last`."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.steps: list[tuple[int, int, str]] = []
        self.likelihoods: list[tuple[int, float, float, str]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.steps.append((done, total, what))
        if len(self.steps) == self.last:
            raise vd.Cancelled

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        self.likelihoods.append((step, train, held_out, what))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[bars.TerminalBars]:
    """Bars on a terminal that keeps what is written; the list of those that were made."""
    made: list[bars.TerminalBars] = []

    def on_terminal() -> Progress:
        made.append(bars.TerminalBars(Console(file=io.StringIO(), force_terminal=True, width=80)))
        return made[-1]

    monkeypatch.setattr(bars, "bars", on_terminal)
    return made


def written(shown: bars.TerminalBars) -> str:
    assert isinstance(shown.live.console.file, io.StringIO)
    return shown.live.console.file.getvalue()


def test_what_a_user_may_give() -> None:
    assert as_progress(None) is as_progress(False) is silent
    chart = Chart()
    assert as_progress(chart) is chart
    heard: list[Any] = []
    as_progress(lambda *step: heard.append(step))(1, 2, "frames")
    assert heard == [(1, 2, "frames")]
    for wrong in (3, "yes", Chart):
        with pytest.raises(vd.ConfigError, match="give True for bars"):
            as_progress(wrong)                             # type: ignore[arg-type]


def test_likelihoods_are_computed_only_for_who_wants_them() -> None:
    class Watch:
        """Not a subclass, but it has the method."""

        def __call__(self, done: int, total: int, what: str) -> None: ...

        def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
            self.heard = step, what

    watch = Watch()
    assert not silent.wants_likelihood
    assert not as_progress(lambda *_: None).wants_likelihood
    assert Chart().wants_likelihood
    assert as_progress(watch).wants_likelihood
    as_progress(watch).likelihood(2, 1.0, 0.9, "fit")
    as_progress(watch).converging(2, 1.0, "nats")
    assert watch.heard == (2, "fit")


def test_true_draws_nothing_where_nobody_sees_it(capfd: pytest.CaptureFixture[str]) -> None:
    tracks = vd.simulate(GAS, seed=1, progress=True)
    vd.fit(tracks, vd.Brownian(), progress=True).rollout(tracks, steps=5, progress=True)
    assert capfd.readouterr() == ("", "")


def test_every_verb_takes_true(terminal: list[bars.TerminalBars], tmp_path: Path) -> None:
    tracks = vd.simulate(GAS, 1, True)
    model = vd.fit(tracks, vd.Brownian(), progress=True)
    model.rollout(tracks, steps=5, progress=True)
    vd.analysis.rdf(tracks, progress=True)
    film = vd.simulators.HiddenState(n_particles=15, frames=12, box_length=12.0)
    camera = vd.simulators.Renderer(height=96, width=96, state_width=1.4)
    video = vd.render(film, camera, to=tmp_path / "clip.tif", progress=True)
    vd.track(video, diameter=9, progress=True)
    vd.suggest(video, progress=True)
    vd.encode(video, video.truth, vd.PatchEncoder(size=15, columns=2, steps=5), progress=True)
    (tmp_path / "gas.toml").write_text("""
        [simulate]
        kind = "Brownian"
        n_particles = 20
        frames = 60
        box_length = 12.0
        [dynamics]
        kind = "Brownian"
        [rollout]
        steps = 5
        """)
    vd.run(tmp_path / "gas.toml", progress=True)
    assert len(terminal) == 9, "one for each call, none for what these call"
    drawn = [one for one in terminal if one.tasks]
    assert len(drawn) == 8, "fitting free diffusion has no steps to count"
    for one in drawn:
        assert not one.live.live.is_started, "closed"
        assert written(one).endswith("\x1b[?25h"), "the cursor is there again"
    assert any("tracking" in written(one) and "12/12" in written(one) for one in drawn)


@pytest.mark.parametrize("error", [vd.Cancelled, KeyboardInterrupt, ValueError])
def test_bars_are_closed_however_the_work_ends(terminal: list[bars.TerminalBars], error: type[BaseException]) -> None:
    class Breaks:
        def run(self, seed: int, progress: Progress) -> None:
            progress(1, 3, "work")
            raise error

    with pytest.raises(error):
        vd.simulate(Breaks(), progress=True)
    shown, = terminal
    assert shown.tasks
    assert not shown.live.live.is_started
    assert written(shown).endswith("\x1b[?25h")


def test_bars_that_the_user_made_stay_open() -> None:
    mine = bars.TerminalBars(Console(file=io.StringIO(), force_terminal=True))
    with showing(mine) as progress:
        progress(1, 2, "first")
    assert mine.live.live.is_started
    mine.close()
    mine.close()


def test_cancel_at_any_call() -> None:
    with pytest.raises(vd.Cancelled):
        vd.simulate(GAS, seed=1, progress=Chart(last=1))
    tracks = vd.simulate(GAS, seed=1)
    with pytest.raises(vd.Cancelled):
        vd.fit(tracks, vd.Brownian()).rollout(tracks, steps=5, progress=Chart(last=1))


def test_a_subclass_hears_the_fit_and_changes_nothing() -> None:
    tracks, chart = vd.simulate(GAS, seed=1), Chart()
    heard, plain = vd.fit(tracks, vd.Brownian(), progress=chart), vd.fit(tracks, vd.Brownian())
    assert chart.likelihoods
    assert heard.report == plain.report
    assert all(np.array_equal(heard.arrays[name], plain.arrays[name]) for name in plain.arrays)


def test_bars_in_a_notebook() -> None:
    client = pytest.importorskip("jupyter_client")
    pytest.importorskip("ipykernel")
    manager = client.KernelManager(kernel_name="python3")
    manager.start_kernel()
    kernel = manager.client()
    kernel.start_channels()
    shown: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "update_display_data"):
            shown.append(content["data"].get("text/html", ""))
        elif message["msg_type"] in ("stream", "error"):
            pytest.fail(json.dumps(content))

    try:
        kernel.wait_for_ready(timeout=60)
        reply = kernel.execute_interactive(textwrap.dedent("""
            import sys
            from vid2dyn.core.showing import showing
            with showing(True) as progress:
                for k in range(1, 4):
                    progress(k, 3, "linking")
            assert "ipywidgets" not in sys.modules
        """), output_hook=hear, timeout=60)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    assert "linking" in shown[-1]
    assert "3/3" in shown[-1]
