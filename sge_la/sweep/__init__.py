"""Many runs from one command: which they are, how they are carried out, here or on a cluster, and what they found."""
