"""Processor time and memory of asking who of a gallery is nearest: `python -m benchmarks.gallery`.

Galleries are simulated: people are points on the sphere, and their sequences lie around them, a hundred each. All times
are of the processor (all threads together), since a search of a few milliseconds is disturbed by whatever else runs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import common
from sge_la.errors import run_command

WIDTH, A_PERSON, A_RECORDING, TOP = 768, 100, 50, 5


def main(argv: Sequence[str] | None = None) -> None:
    """Asks with one sequence, and with a recording, in galleries of several sizes."""
    parser = common.argument_parser('gallery', __doc__)
    parser.add_argument('--rows', type=common.positive, nargs='+', default=[10**4, 10**5, 10**6], help='sequences')
    parser.add_argument('--probes', type=common.positive, default=90, help='sequences in a recording (default 90)')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu)
    print(common.format_facts(facts))
    found = [measure_gallery(rows, options.probes, options.repeats) for rows in options.rows]
    titles = {
        'product': 'float32 product of a sequence, ms',
        'sequence': 'a sequence, exact, ms',
        'all_distances': 'all its distances in float64, ms',
        'faiss_flat': "Faiss' exact search, ms",
        'product_recording': f'product of {options.probes} sequences, ms',
        'recording': f'a recording of {options.probes}, exact, ms',
        'index_build': 'making the index, s',
        'index_sequence': 'a sequence, index, ms',
        'recall': 'recall of the index',
        'gallery_mib': 'gallery, MiB',
        'peak_mib': 'peak memory, MiB',
    }
    rows = [[title, *(one.get(name) for one in found)] for name, title in titles.items()]
    print(common.format_table(['processor time', *(f'{one["rows"]:,} rows' for one in found)], rows))
    common.write_json(options.json, 'gallery', facts, {'largest': max(options.rows), 'galleries': found})


def measure_gallery(rows: int, probes: int, repeats: int) -> dict[str, float]:
    """Measures one size; what needs Faiss only where it is installed.

    Returns milliseconds of processor time by name, medians; `index_build` in seconds; `recall`, a share.
    """
    import numpy as np

    from sge_la.evaluation import search
    from sge_la.evaluation.enrolled import unit_length

    enrolled = simulated(rows)
    vectors = enrolled.vectors
    recording = unit_length(vectors[:probes] + np.random.default_rng(1).normal(0, 0.02, (min(probes, rows), WIDTH)))
    one = recording[:1]
    found: dict[str, float] = {
        'rows': rows,
        'product': _milliseconds(lambda: one @ vectors.T, repeats),
        'sequence': _milliseconds(lambda: enrolled.near(one, TOP), repeats),
        'all_distances': _milliseconds(lambda: enrolled.distances(one), repeats),
        'product_recording': _milliseconds(lambda: [part @ vectors.T for part in _parts(recording, rows)], repeats),
        'recording': _milliseconds(lambda: enrolled.near(recording, TOP), repeats),
    }
    if search.is_there():
        import faiss

        found['faiss_flat'] = _milliseconds(lambda: faiss.knn(one, vectors, TOP), repeats)
        start = time.process_time()
        enrolled.__dict__['index'] = search.Index(vectors)  # in the place of its cached property, whatever the size
        found['index_build'] = time.process_time() - start
        found['index_sequence'] = _milliseconds(lambda: enrolled.near(one, TOP, indexed=True), repeats)
        found['recall'] = enrolled.recall()
    return {**found, 'gallery_mib': vectors.nbytes / 2**20, 'peak_mib': common.peak_memory() / 2**20}


def simulated(rows: int):
    """A gallery of so many sequences, a hundred a person, fifty a recording."""
    import numpy as np

    from sge_la.evaluation.enrolled import Enrolled

    rng = np.random.default_rng(0)
    people = -(-rows // A_PERSON)
    # As with CAGEs, people share most of what they are: they lie around one direction.
    means = rng.standard_normal((people, WIDTH), np.float32) + 1
    vectors = np.empty((rows, WIDTH), np.float32)
    for start in range(0, rows, A_RECORDING):
        part = vectors[start : start + A_RECORDING]
        walk = means[start // A_PERSON] + 0.7 * rng.standard_normal(WIDTH, np.float32)
        part[:] = walk + rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    recordings = np.arange(rows) // A_RECORDING
    return Enrolled(vectors, recordings, np.arange(recordings[-1] + 1) * A_RECORDING // A_PERSON)


def _parts(recording, rows: int) -> list:
    """A recording in parts whose products fit into memory as those of `Enrolled` do."""
    size = max(1, 2**24 // rows)
    return [recording[start : start + size] for start in range(0, len(recording), size)]


def _milliseconds(function: Callable[[], object], repeats: int) -> float:
    """The median processor time."""
    function()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return 1000 * statistics.median(found)


if __name__ == '__main__':
    sys.exit(run_command(main))
