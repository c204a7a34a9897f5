"""A run and its folder: which encoders it needs, its records, and what it goes on from."""
