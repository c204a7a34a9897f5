"""Simulated walkers, in the form of the raw recordings of two sensors."""
