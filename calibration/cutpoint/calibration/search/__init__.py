"""Which operating points are measured, how thoroughly, and which the bundle keeps."""
