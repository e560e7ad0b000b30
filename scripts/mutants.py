"""Would the tests notice? Single lines are changed, one at a time, and the tests beside them have to fail.

``python scripts/mutants.py [--only WORD]`` takes about ten minutes; it is run on demand. Every mutant is a file, a line
as it stands, a line that would be wrong, and the tests that must not pass with it. A mutant that lives is a hole in the
tests; one whose line is no longer there has to be written anew. The tree is left as it was, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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
      "(part.dt, part.box.to_dict(), part.cutoff, part.first_frame)",
      "(part.box.to_dict(), part.cutoff, part.first_frame)",
      "tests/core/test_keys.py -k fluid"),
    M("vid2dyn/fitting/particles/scoring.py",
      "(part.position, part.velocity, part.species, part.names)",
      "(part.position, part.species, part.names)",
      "tests/core/test_keys.py -k fluid"),
    M("vid2dyn/fitting/particles/scoring.py",
      "part.dt, part.box.to_dict(), part.cutoff",
      "part.dt, part.cutoff",
      "tests/core/test_keys.py -k fluid"),
    M("vid2dyn/fitting/particles/scoring.py",
      "(settings, about, fixed, vid2dyn.__version__)",
      "(settings, about, fixed)",
      "tests/core/test_keys.py -k fluid"),
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
      "\"range_growth\", \"predictor\", \"link_cost\")",
      "\"range_growth\", \"separation\", \"predictor\", \"link_cost\")",
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
    M("vid2dyn/readers/base.py",
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
      "fitted.errors *= math.sqrt(max(part, 1e-4))",
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
    # vid2dyn_napari
    M("napari_plugin/vid2dyn_napari/wording.py",
      "HEAD.format(out=quoted(out),",
      "HEAD.format(out=f'\"{out}\"',",
      "tests/gui/test_session_names.py"),
)


def killed(mutant: Mutant) -> str:
    """"dead", "LIVES", or "GONE" where the line is not there once."""
    file = ROOT / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return f"GONE ({text.count(mutant.old)} times)"
    try:
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider",
                               *mutant.tests.split()], cwd=ROOT, capture_output=True, timeout=300,
                              env={**os.environ, "NUMBA_CACHE_DIR": str(ROOT / ".mutants-cache")})
        return "dead" if done.returncode == 1 else f"LIVES (pytest {done.returncode})"
    except subprocess.TimeoutExpired:
        return "dead (too slow)"
    finally:
        file.write_text(text, encoding="utf-8")


def main() -> int:
    """Every mutant in turn; the number of those that live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word of the file or of the tests")
    only = parser.parse_args().only
    living = 0
    for mutant in MUTANTS:
        if only in mutant.file or only in mutant.tests:
            found = killed(mutant)
            living += not found.startswith("dead")
            print(f"{found:<16} {mutant.file}: {mutant.new.strip()[:90]}", flush=True)
    print(f"{living} of {len(MUTANTS)} live")
    return living


if __name__ == "__main__":
    sys.exit(min(main(), 100))
