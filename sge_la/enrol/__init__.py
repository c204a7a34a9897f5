"""People who are enrolled without training: their encodings in one file, and who of them a recording shows."""
