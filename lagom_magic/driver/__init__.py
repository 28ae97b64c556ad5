"""Decides and carries out a run: a pure machine (`state`), its shell (`driver`), and the seam to Spark (`launcher`)."""
