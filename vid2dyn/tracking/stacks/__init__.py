"""Tracking in three dimensions: stacks of planes in, detections with y, x, z and their standard errors out.

The way of one stack: filter and find maxima (`maxima`), fit all spots together (`gaussians`, `together`), look for
what they left (`missed`), standard errors from the information of the voxels (`information`). Widths of the spots
belong to the recording and are measured once (`widths`); `detector` runs it all, `linking` joins detections in time.

Within this room a place is (y, x [px], z [planes]); tables of detections have all three in pixels.
"""
