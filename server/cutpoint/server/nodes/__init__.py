"""Nodes that share the work of a bundle."""
