"""Codecs of a bundle, but for those that take training: fitted to calibration data, written as graphs and tables."""
