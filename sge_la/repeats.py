"""The same training with several seeds: `train.py --runs N`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sge_la.data import Dataset
from sge_la.experiment import run_training
from sge_la.files import write_json
from sge_la.options import TrainOptions
from sge_la.run_folders import recognition_folder
from sge_la.statistics import summarise_runs

say = tqdm.write
# Keys of a test set's scores, and what they are called in print.
VARIANTS = {
    'selected': 'As printed',
    'all_sequences': 'All sequences',
    'recording_vote': 'Recording vote',
    'last': 'Last epoch',
}
METRICS = {'rank1': 'Rank-1 Accuracy', 'nauc': 'nAUC'}


def run_repeats(options: TrainOptions, dataset: Dataset) -> Path:
    """Trains with the seeds `seed` to `seed + runs - 1`, each in folders of its own, and prints mean ± deviation.

    Returns:
        The file that keeps the summary, beside the run folders.
    """
    seeds = range(options.seed, options.seed + options.runs)
    found = {}
    for number, seed in enumerate(seeds, 1):
        say(f'\n## Run {number} of {options.runs}, seed {seed}')
        found[seed] = run_training(
            replace(options, seed=seed, by_seed=True, resume=options.resume and number == 1), dataset
        )
    summaries = {name: _summaries([run[name] for run in found.values()]) for name in next(iter(found.values()))}
    say(f'\n### {options.runs} runs, seeds {seeds[0]} to {seeds[-1]}: mean ± standard deviation')
    for name, variants in summaries.items():
        for variant, found_metrics in variants.items():
            shown = ', '.join(f'{title} {found_metrics[key]}' for key, title in METRICS.items() if key in found_metrics)
            say(f'{name}, {VARIANTS[variant]}: {shown}')
    folder = recognition_folder(options)
    path = folder.with_name(f'{folder.name}_runs.json')
    kept = {
        name: {variant: {metric: vars(value) for metric, value in one.items()} for variant, one in variants.items()}
        for name, variants in summaries.items()
    }
    write_json(path, {'seeds': list(seeds), 'test_sets': kept})
    say(f'Written to {path}')
    return path


def _summaries(runs: list[dict]) -> dict:
    """For each variant that all runs have: `RunSummary` of Rank-1 and, where it is defined, nAUC."""
    shared = [variant for variant in VARIANTS if all(variant in run for run in runs)]
    return {variant: summarise_runs([_numbers(run[variant]) for run in runs]) for variant in shared}


def _numbers(scores: dict) -> dict[str, float]:
    return {name: scores[name] for name in METRICS if scores.get(name) is not None}
