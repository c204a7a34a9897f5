"""The two stages of training, in one (the modern recipe), and whole runs of train.py."""
