"""Exits: small heads on the way that answer what is easy. docs/exits.md is the prose to it."""
