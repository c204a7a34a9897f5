"""`--recipe modern`: the paper's method, trained as one would today."""
