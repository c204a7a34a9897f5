"""One run of a sweep: whether it is finished, which others must not run beside it, and how it is carried out."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from sge_la import backends
from sge_la.data.casia_b import load_for
from sge_la.data.training_set import fingerprint, training_data
from sge_la.errors import UserError, plain, say
from sge_la.runs import records
from sge_la.runs.find import recognition_folder
from sge_la.runs.plan import plan_of
from sge_la.settings.options import TrainOptions

# Options that say where and how, not what.
_HOW = frozenset(
    (
        *('gpu', 'backend', 'data_dir', 'models_dir', 'config', 'overwrite', 'resume', 'train_flag', 'runs', 'figures'),
        *('tensorboard', 'verbose', 'together', 'devices'),
    )
)
# Options that the sequences of a run depend on.
_OF_DATA = (
    *('dataset', 'length', 'data_dir', 'view', 'probe', 'protocol', 'probe_type', 'norm', 'faithful', 'select'),
    'unknown',
)


def scores_of(options: TrainOptions) -> dict[str, Any]:
    """The scores of a finished run by test set; {} where its folder holds none of all sequences, or another run's."""
    folder = recognition_folder(options)
    found = (records.read_results(folder) or {}).get('test_sets', {})
    config = records.read_config(folder) or {}
    complete = config.get('finished') and all('all_sequences' in scores for scores in found.values())
    return found if complete and _is_of(config, options) else {}


def _is_of(config: Mapping[str, Any], options: TrainOptions) -> bool:
    """Whether a run's config.json has these options, and is of the data that are there (or none are)."""
    asked = {name: value for name, value in asdict(options).items() if name not in _HOW}
    if records.differences(config.get('options', {}), asked, asked):
        return False
    seed = options.seed if options.unknown is not None else TrainOptions.seed
    data = replace(TrainOptions(), seed=seed, **{name: getattr(options, name) for name in _OF_DATA})
    try:
        return _fingerprints(data) == {name: config.get('record', {}).get(name) for name in ('data', 'tests')}
    except UserError:
        return True


def is_finished(options: TrainOptions) -> bool:
    """Whether a run is trained and scored, with these options and on these data, and is to stay."""
    return not options.overwrite and bool(scores_of(options))


def has_nothing_left(options: TrainOptions) -> bool:
    """Whether a run is finished, and neither event files nor figures are wanted, which a finished run may lack."""
    return not (options.tensorboard or options.figures) and is_finished(options)


@cache
def _fingerprints(options: TrainOptions) -> dict[str, Any]:
    """What changes with the sequences of a run, as its record has it."""
    dataset = load_for(options, warn=lambda text: None)
    tests = {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()}
    return {'data': training_data(dataset, options.select).fingerprint, 'tests': tests}


def train_run(options: TrainOptions) -> str:
    """Trains and scores a run, unless it is finished. Returns '', or in a sentence what was wrong."""
    from sge_la.training.pipeline import run_training

    if has_nothing_left(options):
        say('It is finished: nothing to do')
        return ''
    try:
        with backends.using(options.backend):
            dataset = load_for(options)
            run_training(plan_of(options, dataset), dataset)
            if options.figures:
                from sge_la.reporting.run_figures import show_run

                show_run(options)
    except UserError as error:
        return str(error)
    except Exception as error:  # such as a GPU without memory: the other runs go on
        traceback.print_exc()
        return f'{type(error).__name__}: {plain(error)}'
    return ''


def chains(every: Sequence[TrainOptions]) -> list[list[TrainOptions]]:
    """Runs parted so that no two parts share an encoder that one of them trains: these may run at the same time."""
    plans = [plan_of(options, joints=1) for options in every]
    folders = [{folder for job in plan.encoders for folder in job.folders.values()} for plan in plans]
    trained = set().union(*(own for own, plan in zip(folders, plans, strict=True) if plan.trains_encoders))
    found: list[tuple[set[Path], list[int]]] = []
    for number, own in enumerate(folders):
        shared = [part for part in found if part[0] & own & trained]
        numbers = sorted(number for part in shared for number in part[1])
        merged = own.union(*(part[0] for part in shared)), [*numbers, number]
        found = [*(part for part in found if part not in shared), merged]
    return [[every[number] for number in numbers] for _, numbers in found]
