#!/usr/bin/env python
"""Where will a driven sheet rearrange next? A column learned from structure alone, judged on cycles that were not seen.

    python scripts/sheet_softness.py                     # 16 cycles at 10 % strain of 770 particles
    python scripts/sheet_softness.py --cycles 30 --out softness

For each predictor the AUC: the probability that a particle with a large D²min in the next half cycle ranks above one
without. Softness is learned (`vd.analysis.softness`); psi6, density, vibration (kT/K of a particle in its cage, of the
true forces) and the D²min of the last cycle are what it stands beside.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import vid2dyn as vd
from vid2dyn import analysis


def film(cycles: int, strain: float, gap: float) -> vd.simulators.Needle:
    """Twenty frames a cycle."""
    return vd.simulators.Needle(gap=gap, width=1.5 * gap, frames=20 * cycles + 1, frames_per_second=20.0,
                                frequency=1.0, strain=strain)


def judged(cycles: int, strain: float, gap: float, seed: int) -> Any:
    """What structure tells of one film."""
    made = film(cycles, strain, gap)
    forces = {(a, b): (lambda r, a=a, b=b: made.pair_force(r, a, b)) for a in ("large", "small")
              for b in ("large", "small")}
    turns = analysis.cycles(vd.simulate(made, seed=seed, progress=True)).extrema()
    return analysis.softness(turns, made.cutoff, pair_force=forces, progress=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=16)
    parser.add_argument("--strain", type=float, default=0.1)
    parser.add_argument("--gap", type=float, default=112.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = judged(options.cycles, options.strain, options.gap, options.seed)
    print(found.auc.round(3).to_string())
    print(*found.warnings, sep="\n")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "softness.json").write_text(json.dumps({"auc": found.auc.to_dict(), "said": found.warnings},
                                                              indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
