"""Rank-n, nAUC, gallery and probe: how well people are told apart, and how sure that is."""
