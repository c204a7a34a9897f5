"""A run's plan: options and data set, resolved once into plain facts, so that nothing below asks a flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sge_la.data import Dataset
from sge_la.data.casia_b import load_for
from sge_la.data.layout import AXES, DEFAULT_TEST, TEST_FOLDERS
from sge_la.errors import UserError
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.runs.banner import heading
from sge_la.runs.find import folder_of, recognition_folder
from sge_la.settings import names, papers
from sge_la.settings.options import FLOAT32, EvaluateOptions
from sge_la.settings.papers import CME, CVE, PLUS, TASKS, ablation_row
from sge_la.settings.recipe import MODERN

# Options that say where and how, not what: a result does not depend on them.
_NOT_RECORDED = (
    *('gpu', 'backend', 'devices', 'data_dir', 'models_dir', 'config', 'overwrite', 'resume', 'train_flag', 'epochs'),
    *('runs', 'together', 'by_seed', 'figures', 'tensorboard', 'recipe', 'without', 'supervised', 'precision'),
    *('verbose', 'unknown'),
)
_OF_FEATURES = (
    *('dataset', 'manner', 'length', 'view', 'transfer', 'frozen', 'c_reid', 'encoding', 'model', 'ablation', 'seed'),
)
_OF_JOINT = (
    *('dataset', 'manner', 'length', 'view', 'attention', 'model', 't', 'select', 'batch_size', 'seed', 'without'),
)


@dataclass(frozen=True)
class EncoderJob:
    """One gait encoder that a run needs.

    Attributes:
        task: its pretext task.
        attention: 'LA' or 'BA'; of an ablation also 'MBA' or 'none'.
        config: the model's.
        folders: where x, y and z are kept.
        targets: what it trains on, as `model.pretext` calls it.
        record: what its weights depend on besides the data.
        labelled: an encoder alone, trained with labels (the ablation's first row).
        permute_train_only: published rev_rec_plus: the third time only training inputs are permuted.
    """

    task: str
    attention: str
    config: EncoderConfig
    folders: dict[str, Path]
    targets: str
    record: Mapping[str, Any]
    labelled: bool = False
    permute_train_only: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run is and does.

    Attributes:
        dataset, length, view, seed, precision, select: as the flags of these names.
        protocol: 'CVE' or 'CME' of CASIA-B, else None.
        task: the pretext task, or rev_rec_plus.
        encoding: 'CAGE' or 'AGE'.
        encoders: those whose features are joined, in this order; none where no data set tells the joints.
        features: what is read from them: 'context', 'contrast' or 'states', see `features.cages`.
        manner: how rows of features are scored, 'ap' or 'sc'.
        own_tasks: pretext tasks whose own scores stand beside the joined one.
        recipe: of encoders and network trained together; None trains one after the other.
        two_thirds, shuffled: encoders train on the first two thirds of the sequences (BIWI), in another order (AGE).
        shared_order: frames of x, y and z are permuted alike.
        epochs, batch_size: of the encoders (and of both, trained together).
        rn_epochs, rn_batch_size, rn_rate: of the recognition network; the batch size is that of scoring too.
        divides_by_batch, fills_batch, pads_tests: flaws of the original's scoring that `--faithful` repeats, see
            `metrics.sequence_scores` and `cages.original_rows`.
        trains_encoders, trains_network, resume, overwrite, tensorboard, recheck: what is done.
        network: the recognition network's folder; `networks`: the folder to score by test set.
        models_dir, gpu: where.
        verbose: print all results; `debugs`: print what the original's authors left for debugging (`--faithful`).
        heading: the banner's lines.
        network_record, feature_record, joint_record: what network, features, and both together depend on besides data.
        options: all of them, for config.json.
    """

    dataset: str
    length: int
    view: int | None
    seed: int
    precision: str
    select: str
    protocol: str | None
    task: str
    encoding: str
    encoders: tuple[EncoderJob, ...]
    features: str
    manner: str
    own_tasks: tuple[str, ...]
    recipe: Recipe | None
    two_thirds: bool
    shuffled: bool
    shared_order: bool
    epochs: int | None
    batch_size: int | None
    rn_epochs: int | None
    rn_batch_size: int | None
    rn_rate: float | None
    divides_by_batch: bool
    fills_batch: bool
    pads_tests: bool
    trains_encoders: bool
    trains_network: bool
    resume: bool
    overwrite: bool
    tensorboard: bool
    recheck: bool
    network: Path
    networks: Mapping[str, Path]
    models_dir: Path
    gpu: str
    verbose: bool
    debugs: bool
    heading: Mapping[str, object]
    network_record: Mapping[str, Any]
    feature_record: Mapping[str, Any]
    joint_record: Mapping[str, Any]
    options: Mapping[str, Any]

    def columns_of(self, task: str) -> tuple[int, int] | None:
        """Which of the joined encoders is that of a task, and how many there are; None for '', all of them."""
        return (self.own_tasks.index(task), len(self.own_tasks)) if task else None


def plan_of(options, dataset: Dataset | None = None, *, joints: int | None = None) -> Plan:
    """Resolves a run.

    `options`: of train.py or evaluate.py, resolved; `dataset`: of the run, if it is at hand; `joints`: J of the
    encoders where no data set is at hand.
    """
    joints = dataset.joints if dataset else joints
    row = ablation_row(options.ablation) if options.ablation else None
    protocol, vectors = papers.protocol_of(options), bool(options.frozen or options.c_reid)
    published_plus = options.faithful and options.model == PLUS
    flag = getattr(options, 'train_flag', 2)
    network = folder_of(options) if isinstance(options, EvaluateOptions) else recognition_folder(options)
    recipe = Recipe.of(options.without, options.supervised) if options.recipe == MODERN else None
    # Fields that are called as the option that they come from.
    same = {item.name: getattr(options, item.name, None) for item in fields(Plan) if item.name != 'encoders'}
    settled = dict(
        protocol=protocol,
        task=options.model,
        encoders=tuple(_encoder_jobs(options, joints)) if joints else (),
        features=row.features if row else 'contrast' if vectors else 'context',
        manner='sc' if vectors else options.manner,
        own_tasks=TASKS if options.model == PLUS and not (options.faithful or options.double_pretext) else (),
        recipe=recipe,
        two_thirds=options.dataset == 'BIWI',
        shuffled=options.encoding == 'AGE',
        shared_order=not options.faithful,
        divides_by_batch=options.faithful,
        fills_batch=options.faithful and protocol == CVE,
        pads_tests=published_plus,
        recheck=getattr(options, 'recheck', False),
        trains_encoders=flag == 1,
        trains_network=flag in (0, 1) and protocol != CME,
        network=network,
        networks=_networks(options, network, dataset),
        models_dir=Path(options.models_dir),
        verbose=options.verbose or options.faithful,
        debugs=options.faithful,
        heading=heading(options) | ({'Split': dataset.leaks} if dataset and dataset.leaks else {}),
        network_record={name: value for name, value in asdict(options).items() if name not in _NOT_RECORDED},
        feature_record={
            **{name: getattr(options, name) for name in _OF_FEATURES},
            'faithful': names.changed_by_faithful(options),
            'select_val': options.select == 'val',
            **_recorded_choices(options),
        },
        joint_record=_joint_record(options, recipe) if recipe else {},
        options=asdict(options),
    )
    return Plan(**{**same, **settled})


def plan_at_hand(options) -> tuple[Plan, Dataset | None, str]:
    """The plan of a run that is scored, its data set or None, and why there is none or ''."""
    try:
        dataset, absence = load_for(options), ''
    except UserError as error:
        dataset, absence = None, str(error)
    return plan_of(options, dataset), dataset, absence


def plans_by_seed(options, dataset: Dataset) -> tuple[dict[int, Plan], Path]:
    """The runs of `--runs`: seeds `--seed` and following, each in its own folders; and the file of their summary."""
    plans: dict[int, Plan] = {}
    for seed in range(options.seed, options.seed + options.runs):
        one = replace(options, seed=seed, by_seed=True, resume=options.resume and not plans)
        plans[seed] = plan_of(one, dataset)
    folder = recognition_folder(options)
    return plans, folder.with_name(f'{folder.name}_runs.json')


def _networks(options, network: Path, dataset: Dataset | None) -> dict[str, Path]:
    """The folder of the network to score by test set.

    IAS is scored on both test sets, from the authors' `IAS-A_...` and `IAS-B_...` folders where they exist and no other
    was named.
    """
    if options.dataset != 'IAS':
        tests = dataset.tests if dataset else [options.probe or DEFAULT_TEST.get(options.dataset, 'test')]
        return {next(iter(tests)): network}
    named = getattr(options, 'RN_dir', None)
    alone = names.parse_run_name(network.name).test_set
    found = {}
    for test in TEST_FOLDERS['IAS']:
        published = network.with_name(network.name.replace('IAS_', f'IAS-{test}_', 1))
        if alone in (None, test):
            found[test] = published if published.is_dir() and not named else network
    return found


def _encoder_jobs(options, joints: int) -> list[EncoderJob]:
    """One encoder, or for rev_rec_plus three (with `--double_pretext` two of them).

    `--faithful` gives what was published as rev_rec_plus: the rev_rec encoder three times, the third time with
    permuted training inputs.
    """
    if options.model != PLUS:
        return [_job(options, options.model, options.attention, joints)]
    if options.faithful:
        first = _job(options, 'rev_rec', 'LA', joints)
        jobs = [first, first, replace(first, permute_train_only=True)]
    else:
        jobs = [_job(options, *kind, joints) for kind in (('rev_rec', 'LA'), ('prediction', 'BA'), ('sorting', 'BA'))]
    return [jobs[place] for place in papers.DOUBLE_PRETEXT[options.double_pretext]]


def _job(options, task: str, attention: str, joints: int) -> EncoderJob:
    row = ablation_row(options.ablation) if options.ablation else None
    config = EncoderConfig(
        length=options.length,
        joints=joints,
        attention=attention,
        reverse=row is None or row.reverse,
        contrastive=options.encoding == 'CAGE',
        temperature=options.t,
        detach_contrast=bool(options.frozen),
        precision=options.precision,
    )
    name = names.RunName(
        'encoder',
        options.encoding,
        options.transfer or options.dataset,
        attention=attention,
        length=options.length,
        temperature=options.t,
        frozen=options.frozen,
        view=options.view,
        task=task,
        suffix=names.encoder_suffix(options, task),
    )
    # On CASIA-B the original trains all encoders on reversed targets, whatever their task.
    backwards = options.faithful and papers.protocol_of(options) is not None
    return EncoderJob(
        task,
        attention,
        config,
        {axis: replace(name, axis=axis).folder(options.models_dir) for axis in AXES},
        targets='rec' if not config.reverse else 'rev_rec' if backwards else task,
        record=_encoder_record(options, task, attention),
        labelled=row is not None and row.labelled,
    )


def _encoder_record(options, task: str, attention: str) -> dict[str, Any]:
    """Everything that an encoder's weights depend on besides the data, for its config.json."""
    return {
        **{name: getattr(options, name) for name in ('dataset', 'encoding', 'length', 't', 'view', 'frozen', 'seed')},
        'model': task,
        'attention': attention,
        'faithful': options.faithful and names.trains_otherwise(options, task),
        'ablation': ablation_row(options.ablation).encoder if options.ablation else None,
        'select_val': options.select == 'val',
        'epochs': getattr(options, 'epochs', None),
        'batch_size': options.batch_size,
        **_recorded_choices(options),
    }


def _joint_record(options, recipe: Recipe) -> dict[str, Any]:
    """Everything that encoders and network depend on besides the data, trained together."""
    return {
        'recipe': options.recipe,
        **{name: getattr(options, name) for name in _OF_JOINT},
        'all_epochs': getattr(options, 'epochs', None),  # the learning rate's course depends on it
        'settings': {
            name: value
            for name, value in asdict(recipe).items()
            if name != 'without' and (recipe.supervised or not name.startswith('supervised'))
        },
        **_recorded_choices(options),
    }


def _recorded_choices(options) -> dict[str, str | float]:
    """Nothing of float32 and of everybody, as records did before there was a choice."""
    unknown = None if options.transfer else options.unknown
    found = {'precision': None if options.precision == FLOAT32 else options.precision, 'unknown': unknown}
    return {name: value for name, value in found.items() if value is not None}
