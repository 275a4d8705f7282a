"""Calibration: a model and pictures in, a bundle out."""
