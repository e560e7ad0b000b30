"""One frame in, a table of features out: band-pass, maxima, brightness, shape; then `vid2dyn.tracking.fit`."""
