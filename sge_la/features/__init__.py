"""From encoders and data sets to AGEs and CAGEs."""
