"""CASIA-B: skeletons estimated from videos of 124 people, 11 views and three conditions, and its two protocols.

CVE, cross-view evaluation: train on all views but one, test on that one; everybody is in both. CME, condition-based
matching: encoders are trained on some people; of the others, each sequence (the probe) is matched with a gallery.

    protocols.py   flags, defaults, names and console lines
    published.py   the paper's numbers
    normalise.py   head at the origin, or coordinates scaled cell by cell
    loading.py     the data of a run, normalised
    conditions.py  CME: nearest neighbours of sequence-level CAGEs, ours and the original's way
    tables.py      a run, or a whole table of runs, beside chance, raw coordinates and the paper
    command.py     where train.py and evaluate.py come in
"""
