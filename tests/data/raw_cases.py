"""Reading one recording."""

from sge_la.data.raw.recording import Recording


def read_one(raw_data, index: int = 0) -> Recording:
    return raw_data.read(raw_data.recordings[index])


# Text files
