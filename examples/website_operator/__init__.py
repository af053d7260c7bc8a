"""An operator for the resource Website, written with kopf, as its authors would have it."""
