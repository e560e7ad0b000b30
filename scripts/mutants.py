"""Would the tests notice? Single lines are changed, one at a time, and the tests beside them have to fail.

``python scripts/mutants.py [--only WORD] [--begin N]`` takes about half an hour and is run on demand. Every mutant is a
file, a line as it stands, a line that would be wrong, and the tests that must not pass with it. A mutant that lives is
a hole in the tests; one whose line is no longer there has to be written anew. The lines are changed in a copy of the
tree, so that yours is never wrong, however the run ends.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_BEHIND = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")


@dataclass(frozen=True)
class Mutant:
    """A change of one line and the tests that have to see it."""

    file: str
    old: str
    new: str
    tests: str


M = Mutant
MUTANTS = (
    # fitting
    M("vid2dyn/fitting/particles/scoring.py",
      "limits.tolerance, scored, pace(decrements))",
      "limits.tolerance, scored)",
      "tests/fitting/particles/test_scoring.py -k to_and_fro"),
    M("vid2dyn/fitting/particles/certainty.py",
      "np.clip(values, LEAST_FALL, 1.0)",
      "np.maximum(values, LEAST_FALL)",
      "tests/fitting/particles/test_certainty.py"),
    M("vid2dyn/fitting/particles/fluid_likelihood.py",
      "numbers.starting(shifts[k - 1])",
      "numbers.starting(shifts[0])",
      "tests/fitting/particles/test_fluid_recordings.py -k shifts"),
    M("vid2dyn/fitting/particles/recordings.py",
      "(part.dt, part.box.to_dict(), part.cutoff, part.first_frame, part.frames, part.shown)",
      "(part.box.to_dict(), part.cutoff, part.first_frame, part.frames, part.shown)",
      "tests/core/test_keys.py -k particles"),
    M("vid2dyn/fitting/particles/recordings.py",
      "(part.position, part.velocity, part.species, part.names)",
      "(part.position, part.species, part.names)",
      "tests/core/test_keys.py -k particles"),
    M("vid2dyn/fitting/particles/recordings.py",
      "part.dt, part.box.to_dict(), part.cutoff",
      "part.dt, part.cutoff",
      "tests/core/test_keys.py -k particles"),
    M("vid2dyn/fitting/particles/recordings.py",
      "(settings, about, vid2dyn.__version__)",
      "(settings, about)",
      "tests/core/test_keys.py -k particles"),
    M("vid2dyn/fitting/brownian/pair_forces.py",
      "recording.dt, recording.exposure, recording.box",
      "recording.dt, recording.box",
      "tests/core/test_keys.py -k brownian"),
    M("vid2dyn/fitting/brownian/pair_forces.py",
      "recording.track, recording.variance, recording.weight",
      "recording.track, recording.weight",
      "tests/core/test_keys.py -k brownian"),
    # runs
    M("vid2dyn/runs/chunks.py",
      "for name, value in options.items() if name not in _units()}})",
      "for name, value in ()}})",
      "tests/core/test_keys.py -k parts"),
    M("vid2dyn/runs/chunks.py",
      "\"range_growth\", \"predictor\", \"link_cost\",",
      "\"range_growth\", \"separation\", \"predictor\", \"link_cost\",",
      "tests/core/test_keys.py -k parts"),
    M("vid2dyn/runs/one.py",
      "\"dynamics\": recipe(experiment.dynamics), \"fit\": arguments,",
      "\"dynamics\": recipe(experiment.dynamics),",
      "tests/core/test_keys.py -k stages"),
    # encoders
    M("vid2dyn/encoders/patches/training.py",
      "{recipe} {seed} {tracks.info",
      "{recipe} {tracks.info",
      "tests/core/test_keys.py -k encoders"),
    # data
    M("vid2dyn/data/trajectories.py",
      "track * (int(frame.max() - frame.min()) + lag + 1) + frame",
      "particle * (int(frame.max() - frame.min()) + lag + 1) + frame",
      "tests/data/test_table.py -k names"),
    M("vid2dyn/data/table.py", "if (np.abs(found) > EXACT).any():", "if False:", "tests/data/test_table.py -k fit"),
    M("vid2dyn/data/table.py",
      "if table[\"frame\"].max() > LARGEST_FRAME:",
      "if False:",
      "tests/data/test_table.py -k fit"),
    M("vid2dyn/data/table.py",
      "if (table[\"particle\"] < -1).any():",
      "if False:",
      "tests/data/test_table.py -k fit"),
    M("vid2dyn/data/table.py", "if twice:", "if False:", "tests/data/test_table.py -k fit"),
    M("vid2dyn/data/table.py", "if likely:", "if False:", "tests/data/test_table.py -k fit"),
    M("vid2dyn/data/table.py",
      "np.ptp(table[\"z\"].to_numpy()) > 0:",
      "np.ptp(table[\"z\"].to_numpy()) >= 0:",
      "tests/data/test_table.py -k depth"),
    M("vid2dyn/data/trajectories.py",
      "page_checksum_verification=True",
      "page_checksum_verification=False",
      "tests/data/test_table.py -k flipped"),
    M("vid2dyn/data/trajectories.py",
      "!= _checksum(text, table.schema)",
      "== 0",
      "tests/data/test_table.py -k digit"),
    # convert
    M("vid2dyn/convert/text_table.py",
      "else \"cp1252\"",
      "else \"latin-1-x\"",
      "tests/convert/test_text_table.py -k dialects"),
    M("vid2dyn/convert/text_table.py", "\",\" if comma else \".\"", "\".\"", "tests/convert/test_text_table.py"),
    M("vid2dyn/convert/text_table.py",
      "    _count_fields(path, dialect)\n",
      "    pass\n",
      "tests/convert/test_text_table.py -k far_down"),
    # data
    M("vid2dyn/data/unit_words.py",
      "1e-3: (\"ms\", \"msec\", \"millisec\", \"millisecond\"),",
      "1.0e0: (\"ms\", \"msec\", \"millisec\", \"millisecond\"),",
      "tests/data/test_unit_words.py"),
    M("vid2dyn/data/unit_words.py",
      "60.0: (\"min\", \"minute\", \"mn\"),",
      "1.0000001: (\"min\", \"minute\", \"mn\"),",
      "tests/data/test_unit_words.py"),
    # readers
    M("vid2dyn/readers/tiff_calibration.py",
      "rate = 1.0 / interval if interval else (None if stated else playback)",
      "rate = 1.0 / (stated or 1)",
      "tests/readers/test_tiff_kinds.py -k imagej"),
    M("vid2dyn/readers/tiff_calibration.py",
      "        warnings += uneven_steps(step)\n",
      "",
      "tests/readers/test_tiff_kinds.py -k ome"),
    M("vid2dyn/readers/tiff_layout.py",
      "end = size if page.parent is tif else page.parent.filehandle.size",
      "end = size",
      "tests/readers/test_tiff_kinds.py -k parts"),
    M("vid2dyn/readers/tiff_layout.py",
      "            return True, ()\n",
      "            return False, ()\n",
      "tests/readers/test_tiff_kinds.py -k piece"),
    M("vid2dyn/readers/tiff_pixels.py",
      "2 ** _bits(page, image) - 1",
      "2 ** _bits(page, image)",
      "tests/readers/test_tiff_kinds.py -k white"),
    M("vid2dyn/data/grey.py",
      "if high > low and step > _COARSE * (high - low):",
      "if False:",
      "tests/readers/test_tiff_kinds.py -k hold"),
    M("vid2dyn/readers/movie_index.py",
      "or (checked and damaged(bytes(packet)))",
      "",
      "tests/readers/test_movie_doors.py -k flipped"),
    M("vid2dyn/readers/movie_index.py",
      "\"protocol_whitelist\": \"file\", \"format_whitelist\": FORMATS",
      "\"protocol_whitelist\": \"file\"",
      "tests/readers/test_movie_doors.py -k lists"),
    M("vid2dyn/readers/movie_index.py",
      "f\"file:{path.absolute()}\"",
      "str(path)",
      "tests/readers/test_movie_doors.py -k protocols"),
    M("vid2dyn/readers/images.py",
      "        _refuse_channels(files[0], words[0], counts, varying)\n",
      "        pass\n",
      "tests/readers/test_image_names.py"),
    # tracking
    M("vid2dyn/tracking/sensor_noise.py",
      "levels, variances, counts = _robustly_binned(level, squared)",
      "pass",
      "tests/tracking/test_cameras.py -k noise"),
    M("vid2dyn/tracking/detect/bad_pixels.py",
      "out[i] = excess > _CLEAR * noise and",
      "out[i] = False and",
      "tests/tracking/test_cameras.py -k single"),
    M("vid2dyn/tracking/detect/illumination.py",
      "_HARMFUL = 0.25 ",
      "_HARMFUL = 9.0 ",
      "tests/tracking/test_cameras.py -k uneven"),
    M("vid2dyn/tracking/fit/crowd.py",
      "found.errors[:] *= math.sqrt(max(part, 1e-4))",
      "pass",
      "tests/tracking/test_cameras.py -k sharp"),
    M("vid2dyn/tracking/detect/minmass.py",
      "return len(left) >= _FEWEST and float(np.median(left)) < _SMOOTH",
      "return False",
      "tests/tracking/test_cameras.py -k kinds"),
    M("vid2dyn/tracking/automatic.py",
      "dark = min(whole, typical) > _CLEARLY_DARK",
      "dark = False",
      "tests/tracking/test_cameras.py -k sign"),
    M("vid2dyn/tracking/link/linker.py",
      "recent = self.open.frame >= number - 1 - self.settings.memory",
      "recent = self.open.frame >= -1",
      "tests/tracking/test_link_doubts.py -k memory"),
    M("vid2dyn/tracking/link/doubts.py",
      "if self.edge > _CUT * total:",
      "if False:",
      "tests/tracking/test_link_doubts.py -k guesses"),
    M("vid2dyn/tracking/link/doubts.py",
      "if step > _LARGE_STEP * spacing and not notes:",
      "if False:",
      "tests/tracking/test_link_doubts.py -k guesses"),
    # analysis
    M("vid2dyn/analysis/estimates.py",
      "np.array([0.5, 1.0, -1.5]) / dt",
      "np.array([0.5, 1.0, -0.5]) / dt",
      "tests/analysis/test_diffusion_doubts.py -k flow"),
    M("vid2dyn/analysis/estimates.py",
      "np.array([0.5, 1.0, 0.0]) / dt",
      "np.array([0.5, 0.95, 0.0]) / dt",
      "tests/analysis/test_diffusion_doubts.py -k three"),
    M("vid2dyn/analysis/estimates.py",
      "score = float((((mean - typical) ** 2) / variance).sum())",
      "score = float((((mean - typical) ** 2) / variance).sum()) * 0.0",
      "tests/analysis/test_diffusion_doubts.py -k populations"),
    M("vid2dyn/analysis/moments.py",
      "mean = np.where(np.isnan(self.mean) & (weights == 0).all(axis=0), 0.0, self.mean)",
      "mean = self.mean",
      "tests/analysis/test_diffusion_doubts.py -k three"),
    M("vid2dyn/analysis/diffusion_warnings.py",
      "if least < D / expected < most:",
      "if True:",
      "tests/analysis/test_diffusion_doubts.py -k doubted"),
    # model
    M("vid2dyn/model/brownian.py",
      "box = Periodic(tuple(detectable_area(tracks)[1].tolist()))",
      "box = Periodic(tuple(np.asarray(tracks.field_of_view) * tracks.units.um))",
      "tests/model/test_model.py -k density"),
    # runs
    M("vid2dyn/runs/chunks.py",
      "s.st_mtime_ns, s.st_ctime_ns, s.st_ino]",
      "s.st_mtime_ns]",
      "tests/runs/test_faults.py -k replaced"),
    M("vid2dyn/runs/chunks.py",
      "if stored[\"sha256\"] != fingerprint({\"key\": key, \"chosen\": known}):",
      "if False:",
      "tests/runs/test_faults.py -k plan"),
    M("vid2dyn/runs/movies.py",
      "if isinstance(value, str) and value.lstrip()[:1] in",
      "if isinstance(value, str) and value.lstrip()[:1] not in",
      "tests/runs/test_faults.py -k formulas"),
    M("vid2dyn/runs/movies.py",
      "return plain[:120] or \"movie\"",
      "return name",
      "tests/runs/test_faults.py -k folder"),
    M("vid2dyn/runs/one.py", "    _refuse_foreign(folder)\n", "", "tests/runs/test_faults.py -k user"),
    # core
    M("vid2dyn/core/files.py",
      "fcntl.LOCK_EX | fcntl.LOCK_NB",
      "fcntl.LOCK_SH | fcntl.LOCK_NB",
      "tests/runs/test_faults.py -k two_runs"),
    M("vid2dyn/core/workers.py", "    parent.join() ", "    return ", "tests/runs/test_faults.py -k workers_leave"),
    M("vid2dyn/core/files.py",
      "raise DataError(f\"{path}: cannot be written: {_UNWRITABLE[number]}. Nothing",
      "raise OSError(f\"{path}: {_UNWRITABLE[number]}. Nothing",
      "tests/runs/test_faults.py -k full_disk"),
    # held-out data
    M("vid2dyn/fitting/brownian/evidence.py",
      "return recording.where(recording.frame < held_out_from(recording))",
      "return recording",
      "tests/fitting/test_held_out.py -k brownian"),
    M("vid2dyn/fitting/brownian/evidence.py",
      "return recording.frame[recording.steps + 1] < held_out_from(recording)",
      "return recording.frame[recording.steps] < held_out_from(recording)",
      "tests/fitting/test_held_out.py -k column"),
    M("vid2dyn/fitting/brownian/pair_forces.py",
      "found = refine(_synthetic(early, seed), first,",
      "found = refine(_synthetic(data, seed), first,",
      "tests/fitting/test_held_out.py -k \"brownian and pair\""),
    M("vid2dyn/fitting/brownian/records.py",
      "return with_believable_errors(recording, without_held_out(recording))",
      "return with_believable_errors(recording, recording)",
      "tests/fitting/test_held_out.py -k own"),
    M("vid2dyn/fitting/particles/term_lists.py",
      "scene = scene_of(train, recordings.species",
      "scene = scene_of(recordings.parts, recordings.species",
      "tests/fitting/test_held_out.py -k list"),
    M("vid2dyn/fitting/particles/fluid.py",
      "full = _fit_variant(fluid, fluid.train, begin, \"fluid\",",
      "full = _fit_variant(fluid, fluid.everything, begin, \"fluid\",",
      "tests/fitting/test_held_out.py -k gas"),
    M("vid2dyn/fitting/fields/rounds.py",
      "for g, function in ((None, self.function), (HELD_OUT, self.of_training)))",
      "for g, function in ((None, self.function), (None, self.of_training)))",
      "tests/fitting/test_held_out.py -k fields"),
    # error bars
    M("vid2dyn/fitting/brownian/free_or_trapped.py",
      "error = np.sqrt((n - 1) / n * (",
      "error = np.sqrt((n - 1) / n / 2 * (",
      "tests/fitting/test_error_sizes.py -k jackknife"),
    M("vid2dyn/fitting/brownian/free_or_trapped.py",
      "error = np.sqrt((n - 1) / n * (",
      "error = np.sqrt((n - 1) / n / 2 * (",
      "tests/fitting/test_error_sizes.py -k scatter"),
    M("vid2dyn/fitting/fields/rounds.py",
      "return (len(others) - 1) / len(others) * away.T @ away",
      "return (len(others) - 1) / len(others) / 2 * away.T @ away",
      "tests/fitting/test_error_sizes.py -k jackknife"),
    M("vid2dyn/fitting/brownian/indirect.py",
      "prior = (r.smoothing + r.smoothing.T) /",
      "prior = r.smoothing /",
      "tests/fitting/test_error_sizes.py -k posterior"),
    M("vid2dyn/fitting/brownian/rounds.py",
      "roughness = 2 * self.smoothness",
      "roughness = self.smoothness",
      "tests/fitting/test_error_sizes.py -k round"),
    M("vid2dyn/fitting/brownian/regression.py",
      "sample = sample * (len(samples) - 1) / (len(samples) - 3)",
      "pass",
      "tests/fitting/test_error_sizes.py -k student"),
    M("vid2dyn/analysis/estimates.py",
      "np.array([0.5, 1.0, 0.0]) / dt",
      "np.array([0.5, 0.95, 0.0]) / dt",
      "tests/fitting/test_error_sizes.py -k covariances"),
    M("vid2dyn/analysis/stress_tensor.py",
      "blocks.std(ddof=1) / np.sqrt(len(blocks))",
      "blocks.std(ddof=1) / len(blocks)",
      "tests/fitting/test_error_sizes.py -k viscosity"),
    M("vid2dyn/fitting/particles/motion_checks.py",
      "/ ((part.n - 1) * part.dim))",
      "/ (part.n * part.dim))",
      "tests/fitting/test_error_sizes.py -k freedoms"),
    M("vid2dyn/analysis/energy_budget.py",
      "2 * kinetic / (dim * max(n - 1, 1))",
      "2 * kinetic / (dim * max(n, 1))",
      "tests/fitting/test_error_sizes.py -k budget"),
    # cameras
    M("vid2dyn/readers/norpix.py",
      "first = 8192 if version >= 5 else 1024",
      "first = 1024",
      "tests/readers/test_small_recordings.py -k streampix"),
    M("vid2dyn/readers/norpix.py",
      "newbyteorder(\"<\"), height * width)",
      "newbyteorder(\">\"), height * width)",
      "tests/readers/test_small_recordings.py -k streampix"),
    M("vid2dyn/readers/cine.py",
      "[::-1 if h.bottom_up else 1]",
      "[::1]",
      "tests/readers/test_small_recordings.py -k phantom"),
    M("vid2dyn/readers/cine.py",
      "_FIXED_POINT = 2.0**32",
      "_FIXED_POINT = 2.0**31",
      "tests/readers/test_small_recordings.py -k phantom"),
    M("vid2dyn/readers/movie.py",
      "frame.format.components[0].bits > 8",
      "frame.format.components[0].bits > 12",
      "tests/readers/test_small_recordings.py -k deep"),
    # the page
    M("vid2dyn/model/brownian.py",
      "truth=\"trap_stiffness\", digits=3",
      "truth=\"diffusion\", digits=3",
      "tests/reports/test_page.py -k truth_of"),
    M("vid2dyn/model/brownian.py",
      "\"µm²/s\", what, \"diffusion\",",
      "\"µm²/s\", what, \"trap_stiffness\",",
      "tests/reports/test_page.py -k truth_of"),
    M("vid2dyn/reports/sections/agreement.py",
      "rows.append([curve.name, f\"{100 * curve.relative_rmse:.1f} %\",",
      "rows.append([curve.name, f\"{100 * curve.relative_rmse_of_noise:.1f} %\",",
      "tests/reports/test_page.py -k heads"),
    M("vid2dyn/reports/sections/agreement.py",
      "{100 * curve.relative_rmse_of_noise:.1f} %\"])",
      "{100 * curve.relative_rmse:.1f} %\"])",
      "tests/reports/test_page.py -k heads"),
    M("vid2dyn/reports/drawing.py",
      "line = 2 * tracks.dim * (diffusion.D",
      "line = 2 * (tracks.dim + 1) * (diffusion.D",
      "tests/reports/test_page.py -k line"),
    # small things that only bytes noticed
    M("vid2dyn/analysis/common_drift.py",
      "else unwrapped(tracks) / tracks.units.um",
      "else unwrapped(tracks)",
      "tests/analysis/test_analysis.py -k drift"),
    M("vid2dyn/simulators/lattice/limits.py",
      "free.curvature - strength,",
      "free.curvature - 1.05 * strength,",
      "tests/laws/test_lattice.py -k kac_limit"),
    M("vid2dyn/tracking/link/predict.py",
      "    new = displacement / (frame - tracks.frame)[:, None]\n",
      "    new = displacement\n",
      "tests/tracking/test_linking.py -k velocit"),
    M("vid2dyn/tracking/link/predict.py",
      "tracks.velocity, common) * (frame - tracks.frame)[:, None]",
      "tracks.velocity, common)",
      "tests/tracking/test_linking.py -k velocit"),
    M("vid2dyn/tracking/link/linker.py",
      "(square / ratio + self.motion * np.log(ratio))",
      "(square / ratio)",
      "tests/tracking/test_linking.py -k logarithm"),
    M("vid2dyn/tracking/link/linker.py",
      "(variance[column] + self.open.variance[row]) / self.motion",
      "variance[column] / self.motion",
      "tests/tracking/test_linking.py -k logarithm"),
    M("vid2dyn/tracking/link/linker.py",
      "float((displacement**2 - noise).mean())",
      "float((displacement**2).mean())",
      "tests/tracking/test_linking.py -k without_noise"),
    M("vid2dyn/tracking/sensor_noise.py",
      "rounding = 1.0 / 12.0 if integer else 0.0",
      "rounding = 0.0",
      "tests/tracking/test_cameras.py -k rounding"),
    M("vid2dyn/simulators/camera/observation.py",
      "np.exp(spread * scatter - spread**2)",
      "np.exp(spread * scatter - 0.5 * spread**2)",
      "tests/statistics/test_simulators_brownian.py -k scatter"),
    M("vid2dyn/analysis/diffusion_warnings.py",
      "stated = float(np.sqrt(np.mean(sigma**2)))",
      "stated = float(np.mean(sigma))",
      "tests/analysis/test_analysis.py -k stated"),
    M("napari_plugin/vid2dyn_napari/layers.py",
      "\"translate\": (0.0, 0.5 * sizes[1], 0.5 * sizes[2] + offset)",
      "\"translate\": (0.0, 0.5 * sizes[1], offset)",
      "tests/gui/test_data_and_layers.py -k ring"),
    M("vid2dyn/simulators/brownian/equilibrate.py",
      "rng.random() < math.exp(-change):",
      "rng.random() < math.exp(-change / 1.05):",
      "tests/statistics/test_simulators_brownian.py -k temperature"),
    M("vid2dyn/simulators/brownian/mixture.py",
      "rng.random() < math.exp(-change):",
      "rng.random() < math.exp(-change / 1.05):",
      "tests/statistics/test_simulators_brownian.py -k temperature"),
    M("vid2dyn/simulators/brownian/forces.py",
      "bridge = math.sqrt(diffusion * h / 6)",
      "bridge = 0.0",
      "tests/statistics/test_simulators_brownian.py -k one_step"),
    M("vid2dyn/simulators/brownian/mixture.py",
      " + math.sqrt(D[i] * h / 6) * rng.standard_normal()",
      "",
      "tests/statistics/test_simulators_brownian.py -k one_step"),
    M("vid2dyn/simulators/brownian/hydrodynamics.py",
      "(0.5 * (old + x) + bridge) / per_part",
      "(0.5 * (old + x)) / per_part",
      "tests/statistics/test_simulators_brownian.py -k one_step"),
    # vid2dyn_napari
    M("napari_plugin/vid2dyn_napari/wording.py",
      "HEAD.format(out=quoted(out),",
      "HEAD.format(out=f'\"{out}\"',",
      "tests/gui/test_session_names.py"),
)


def tested(tree: Path, tests: list[str]) -> int:
    """Exit status of pytest in `tree`: 0 all passed, 1 some failed."""
    paths = os.pathsep.join([str(tree), str(tree / "napari_plugin"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", *tests],
                          cwd=tree, capture_output=True, timeout=900,
                          env={**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tree / ".numba")}).returncode


def killed(mutant: Mutant, tree: Path) -> str:
    """"dead", "LIVES", or "GONE" where the line is not there once; `tree` is the copy that is changed and put back."""
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return f"GONE ({text.count(mutant.old)} times)"
    try:
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        status = tested(tree, shlex.split(mutant.tests))
        return "dead" if status == 1 else f"LIVES (pytest {status})"
    except subprocess.TimeoutExpired:
        return "dead (too slow)"
    finally:
        file.write_text(text, encoding="utf-8")
        if "njit" in text:                 # what was compiled of the wrong line, into other files as well, is forgotten
            shutil.rmtree(tree / ".numba", ignore_errors=True)


def main() -> int:
    """Every mutant in turn; the number of those that live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word of the file or of the tests")
    parser.add_argument("--begin", type=int, default=0, help="number of the first one, to go on from there")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS[given.begin:] if given.only in mutant.file or given.only in mutant.tests]
    living = 0
    with tempfile.TemporaryDirectory(prefix="vid2dyn-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)
        for tests in sorted({shlex.split(mutant.tests)[0] for mutant in chosen}):     # or a failure says nothing
            if tested(tree, [tests]):
                print(f"{tests} fails as the lines stand; mend it first", file=sys.stderr)
                return 1
        for mutant in chosen:
            found = killed(mutant, tree)
            living += not found.startswith("dead")
            print(f"{found:<16} {mutant.file}: {mutant.new.strip()[:90]}", flush=True)
    print(f"{len(chosen) - living} of {len(chosen)} died, {living} live")
    return living


if __name__ == "__main__":
    sys.exit(min(main(), 100))
