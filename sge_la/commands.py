"""What train.py and evaluate.py do: flags and data set become a plan, and the plan is carried out.

`train_dataset` and `evaluate_run` do the same from Python, as `sge_la.train` and `sge_la.evaluate`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sge_la import backends
from sge_la.backends import processes
from sge_la.backends.runtime import for_inference
from sge_la.errors import UserError, heard_by, say
from sge_la.settings.command_line import parse_evaluate, parse_train
from sge_la.settings.papers import protocol_of
from sge_la.settings.parser import Parser
from sge_la.settings.recipe import ORIGINAL

if TYPE_CHECKING:
    from sge_la.data import Dataset
    from sge_la.runs.plan import Plan

MATCHING = ('gallery', 'openset')
# The demonstration's walkers, walks of each, and passes: enough for people as different as simulated ones, in a minute.
_WALKERS, _WALKS, _PASSES = 6, 3, 8
# Share of people who come as strangers, where nothing else is said.
UNKNOWN = 0.2


def train(argv: Sequence[str] | None = None) -> None:
    """`python train.py ...`"""
    _train(parse_train(argv))


def _train(options) -> None:
    if options.figures:
        _require_matplotlib()  # before hours of training
    backend = options.backend
    if options.train_flag == 2:  # nothing is trained
        backend = for_inference(backend, options.gpu, options.precision)
    with backends.using(backend), _devices(options) as trains:
        if trains:
            _carry_out(options)


def _devices(options) -> contextlib.AbstractContextManager[bool]:
    """Whether this process trains, or has lent its devices to the one that does; see `processes.joined`."""
    if options.devices is None:
        return contextlib.nullcontext(True)
    batches = {'--batch_size': options.batch_size}
    if options.recipe == ORIGINAL:
        batches['--rn_batch_size'] = options.rn_batch_size
    return processes.joined(options.gpu, options.devices, batches if options.train_flag != 2 else {})


def _carry_out(options) -> None:
    say(f'Reading {options.dataset} ...')  # the first sign of life, before anything that takes long

    from sge_la.data.casia_b import load_for
    from sge_la.paper import casia_b_command
    from sge_la.runs.plan import plan_of, plans_by_seed
    from sge_la.runs.states import saying_how_to_go_on
    from sge_la.training.pipeline import run_repeats, run_training

    if protocol_of(options):
        casia_b_command.train(options)
        return
    dataset = load_for(options)

    def of_seed(seed: int) -> Dataset:
        if options.unknown is None or seed == options.seed:
            return dataset
        return load_for(replace(options, seed=seed), warn=lambda text: None)  # each seed leaves out other people

    with saying_how_to_go_on(options.overwrite):
        if options.runs > 1:
            run_repeats(*plans_by_seed(options, dataset), of_seed, together=options.together)
        else:
            run_training(plan_of(options, dataset), dataset)
    if options.figures:
        _show(options)


def evaluate(argv: Sequence[str] | None = None) -> None:
    """`python evaluate.py ...`"""
    _evaluate(parse_evaluate(argv, _of_folder))


def demo(argv: Sequence[str] | None = None) -> None:
    """`sge-la demo`: walkers are simulated, a network learns to know them, and names one of them in a new walk."""
    parser = Parser(
        'demo', 'Simulate six walkers, train on them, score, and name one of them in a new walk: about a minute.'
    )
    parser.add_argument('--folder', type=Path, default=Path('sge-la-demo'), help='what it writes into')
    folder = parser.parse_args(argv).folder
    from sge_la import identify
    from sge_la.data.prepare import main as prepare
    from sge_la.data.simulated.kinect import walkers
    from sge_la.files.write_arrays import save_npy
    from sge_la.runs.find import recognition_folder

    places = [f'--data_dir={folder / "Datasets"}', f'--models_dir={folder / "Models"}']
    prepare(['DEMO', f'--people={_WALKERS}', f'--recordings={_WALKS}', places[0]])
    flags = ['--dataset=DEMO', '--recipe=modern', f'--epochs={_PASSES}', '--batch_size=32', *places]
    train(flags)
    simulated = walkers(_WALKERS, _WALKS + 1, seed=0)
    walk = simulated.recordings[-1]
    save_npy(folder / 'walk.npy', simulated.read(walk).frames)
    say(f'\nA new walk of {walk.person}, which the network has not seen:')
    identify.main(['--RN_dir', str(recognition_folder(parse_train(flags))), *places, str(folder / 'walk.npy')])
    say('They are simulated: the figures say that the programs work, not how well the method does')


def train_dataset(dataset: str, *, progress: Callable[[str], None] = lambda line: None, **flags: Any) -> Path:
    """Trains on a data set and scores the run, as `python train.py --dataset NAME` does, and prints nothing.

    `dataset`: its name; `progress`: is called with each line that the command would print, one an epoch among them;
    `flags`: those of train.py, such as `recipe='modern', epochs=5`; True stands for a flag without a value.
    Returns the folder of the run. Raises UserError: as the command.
    """
    from sge_la.runs.find import recognition_folder

    options = parse_train(_typed({'dataset': dataset, **flags}))
    if options.runs > 1 or 'all' in (options.view, options.probe_type):
        raise UserError('one run at a time was expected: leave out runs, and all of view and probe_type')
    with heard_by(progress):
        _train(options)
    return recognition_folder(options)


def evaluate_run(run: str | Path, *, progress: Callable[[str], None] = lambda line: None, **flags: Any) -> dict:
    """Scores a trained run, as `python evaluate.py --RN_dir RUN` does, and prints nothing.

    `run`: the folder of its recognition network, or its name; `progress`, `flags`: as of `train_dataset`, those of
    evaluate.py. Returns the scores by test set, as results.json has them. Raises UserError: as the command.
    """
    with heard_by(progress):
        return _evaluate(parse_evaluate(_typed({'RN_dir': run, **flags}), _of_folder))


def _typed(flags: Mapping[str, Any]) -> list[str]:
    """Flags as they would be typed; those that are None or False are left out."""
    wanted = {name: value for name, value in flags.items() if value is not None and value is not False}
    return [f'--{name}' if value is True else f'--{name}={value}' for name, value in wanted.items()]


def _evaluate(options) -> dict:
    if options.figures or options.report:
        _require_matplotlib()
    with backends.using(for_inference(options.backend, options.gpu, options.precision)):
        return _scored(options)


def _scored(options) -> dict:
    from sge_la.runs.find import as_trained, refuse_missing

    if protocol_of(options):
        from sge_la.paper import casia_b_command

        return casia_b_command.evaluate(options)
    if options.protocol not in MATCHING:
        refuse_missing(options)
    if options.protocol == 'openset':
        found = meet_strangers(options)
    elif options.protocol == 'gallery':
        found = match(as_trained(options))
    else:
        from sge_la.evaluation.pipeline import run_evaluation
        from sge_la.runs.plan import plan_at_hand

        found = run_evaluation(*plan_at_hand(as_trained(options)))
    if options.figures or options.report or options.save_features:
        _show(as_trained(options))
    return found


def match(options) -> dict:
    """`python evaluate.py --protocol gallery ...`"""
    from sge_la.data.casia_b import known_to
    from sge_la.evaluation.gallery import How, run_gallery
    from sge_la.runs.plan import plan_of

    dataset, pairs = _sets_to_match(options)
    dataset = known_to(options, dataset)
    plan = plan_of(replace(options, probe=None), dataset)
    _warn_of_other_data(plan, dataset)
    how = How(**{field.name: getattr(options, field.name) for field in fields(How)})
    return run_gallery(plan, dataset, pairs, how)


def meet_strangers(options) -> dict:
    """`python evaluate.py --protocol openset ...`"""
    from sge_la.data.unknown import unknown_people, without_people
    from sge_la.evaluation.openset_protocol import run_openset
    from sge_la.runs.find import as_trained, unknown_to
    from sge_la.runs.plan import plan_of

    left_out = unknown_to(options)
    _refuse_seen(options, left_out)
    share = left_out or options.unknown or UNKNOWN
    options = as_trained(replace(options, unknown=left_out))
    dataset, pairs = _sets_to_match(options)
    plan, network = plan_of(replace(options, probe=None), dataset), left_out is not None
    if not network:
        _warn_of_other_data(plan, dataset)
    if options.newcomers:
        left = unknown_people(dataset.identities, share, options.seed)
        if len(left) < 4:
            raise UserError(
                f'--newcomers enrols half of the people whom the run was trained without, and at least four were '
                f'expected, found {len(left)}: train with a larger --unknown'
            )
        dataset, share, network = without_people(dataset, set(dataset.identities) - set(left)), 0.5, False
    seeds = range(options.seed, options.seed + options.splits)
    splits = [unknown_people(dataset.identities, share, seed) for seed in seeds]
    if options.newcomers:
        seen = 'The encoders were trained on none of the people here, neither those enrolled nor the unknown'
    elif left_out is not None:
        seen = f'The encoders were trained without the {len(splits[0])} unknown people'
    elif options.transfer:
        seen = f'The encoders were trained on {options.transfer}, which should have none of the people here'
    else:
        seen = (
            'The encoders were trained on everybody, the unknown people too: for them this is no open set, and the '
            f'figures are too good (train.py --unknown {share:g} leaves people out)'
        )
    return run_openset(plan, dataset, pairs, splits, far=options.far, seen=seen, network=network)


def _refuse_seen(options, left_out: float | None) -> None:
    """Refuses other splits of people than those that the run allows."""
    if options.newcomers and left_out is None:
        raise UserError(
            '--newcomers needs people whom the run was trained without, and it was trained on everybody: train with '
            '--unknown, or leave it out'
        )
    if left_out is not None and options.splits > 1 and not options.newcomers:
        raise UserError(
            '--splits tries other unknown people, and the run was trained without those of one split: leave it out, '
            'and train with --runs'
        )


def _warn_of_other_data(plan: Plan, dataset: Dataset) -> None:
    """Encodings can be matched on any data, but who is a probe now may have been trained on."""
    from sge_la.evaluation.test_sets import changed_test

    if changed := changed_test(plan, dataset):
        say(
            f'warning: the test set {changed} is not the one beside which this run was trained, so that its probes may '
            'have been trained on; prepare the data set as it was, or train again'
        )


def _sets_to_match(options) -> tuple[Dataset, list[tuple[str, str]]]:
    """The data set with the sets that are matched, and the (probe, gallery) pairs of them."""
    from sge_la.data.loading import find, load, present_tests
    from sge_la.evaluation.gallery import set_pairs

    place = options.dataset, options.length, options.data_dir
    files, _ = find(*place, view=options.view)
    names = present_tests(files)
    pairs = set_pairs(names, options.probe, options.gallery)
    needed = [name for name in names if any(name in pair for pair in pairs)] or None
    return load(*place, view=options.view, tests=needed, layout=files.layout), pairs


def _of_folder(name: str, models_dir: str) -> Mapping:
    from sge_la.runs.find import options_of_folder

    return options_of_folder(name, models_dir)


def _require_matplotlib() -> None:
    from sge_la.reporting.style import require_matplotlib

    require_matplotlib()


def _show(options) -> None:
    from sge_la.reporting.run_figures import show_run

    show_run(options)
