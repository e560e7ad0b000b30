"""
Crowded particles: how close may two images come before their distance is wrong?
================================================================================

Where images overlap, the centroid of each takes in light of the other, distances come out wrong by
tenths of a pixel, and a potential learned from them bends. vid2dyn fits overlapping images together.
Here pairs of particles are drawn at distances that are known, and each distance that is found is held
against its own true one.
"""

# %%
# Pairs at known distances
# ------------------------
# A frame holds 24 pairs at one distance and 12 particles that stand alone, with the noise of a camera,
# as an array: ``vd.track`` takes arrays. An image is a Gaussian whose standard deviation is 1.6 px, 4 px
# across at half its height.
import warnings

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

SIGMA = 1.6
rng = np.random.default_rng(0)
distances = rng.permutation(np.repeat([4.0, 4.8, 5.6, 6.4, 8.0, 10.0], 8))  # px, eight frames each
rows, columns = np.mgrid[0:240, 0:240]
frames, places = [], []
for distance in distances:
    image = np.full(rows.shape, 20.0)
    middle = 20.0 + 40.0 * np.argwhere(np.ones((6, 6))) + rng.uniform(-2, 2, (36, 2))
    angle = rng.uniform(0, 2 * np.pi, 36)
    half = 0.5 * distance * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    half[24:] = 0.0  # alone
    here = np.concatenate([middle - half, (middle + half)[:24]])
    for y, x in here:
        image += 100.0 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * SIGMA**2))
    frames.append(rng.poisson(image).clip(0, 255).astype(np.uint8))
    places.append(here)


# %%
# Track them, and measure
# -----------------------
# ``compat="trackpy"`` finds features as trackpy does, by centroids, to the last bit; here with a small
# ``separation``, because otherwise it drops the dimmer one of two that are nearer than 8 px.
def found(**settings):
    """Mean distance of the pairs that were found as two particles, and the share of them, for every frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vd.Vid2DynWarning)  # nothing moves here, which vd.track notices
        table = vd.track(
            np.stack(frames),
            diameter=7,
            search_range=1,
            frames_per_second=1,
            micrometre_per_pixel=0.1,
            **settings,
        ).dataframe
    mean, share = [], []
    for number, here in enumerate(places):
        seen = table.loc[table.frame == number, ["y", "x"]].to_numpy()
        apart = np.linalg.norm(seen[:, None] - here, axis=2)
        nearest, near = apart.argmin(axis=0), apart.min(axis=0) < 1.5
        both = near[:24] & near[36:] & (nearest[:24] != nearest[36:])
        between = np.linalg.norm(seen[nearest[:24]] - seen[nearest[36:]], axis=1)
        mean.append(between[both].mean() if both.any() else np.nan)
        share.append(both.mean())
    return np.array(mean), np.array(share)


methods = {"vid2dyn": found(), "centroids (trackpy)": found(compat="trackpy", minmass=200, separation=3)}

# %%
# The answer
# ----------
# Fitted together, images are told apart without bias down to three standard deviations (4.8 px here).
# At 4 px three pairs in five are told apart, and those 0.03 px too far. Centroids push pairs apart by
# 0.3 px at four standard deviations and pull them together nearer than three: a search for forces
# would see forces that are not there.
#
# The width of the images is measured in a few frames. If no particle stood alone in any of them, it
# would come out too large (2.3 in place of 1.6 px, without the 12 single ones here), and distances
# half a pixel too long. For such a film give the width yourself, ``spot_width=1.6``, from a dilute one.
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
steps = np.unique(distances)
for name, (mean, share) in methods.items():
    error = [np.nanmean(mean[distances == d] - d) if share[distances == d].any() else np.nan for d in steps]
    spread = [
        np.nanstd(mean[distances == d]) / 8**0.5 if share[distances == d].any() else np.nan for d in steps
    ]
    left.errorbar(steps, error, yerror := 2 * np.array(spread), fmt="o-", capsize=3, label=name)
    right.plot(steps, [100 * share[distances == d].mean() for d in steps], "o-", label=name)
    print(
        name,
        *(f"{d:g} px: {e:+.3f} ± {s:.3f}" for d, e, s in zip(steps, error, spread, strict=True)),
        sep="\n    ",
    )
left.axhline(0, color="k", ls="--", label="true distance")
left.set(xlabel="true distance (px)", ylabel="found minus true distance (px)", title="Bias of distances")
right.set(xlabel="true distance (px)", ylabel="pairs found as two (%)", ylim=(0, 105), title="Resolved pairs")
left.legend()
plt.show()
