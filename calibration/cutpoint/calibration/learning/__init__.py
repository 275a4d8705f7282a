"""Policies that are trained over the simulator, and written as files that clients follow."""
