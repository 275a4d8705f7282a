"""Codecs that are trained, against the model's own answers."""
