"""The figures of a run: gathers what `sge_la.reporting.figures` draws from run folders, data set and encoders."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sge_la.api import GaitEncoder, holds_features, save_features
from sge_la.data import Dataset, Split
from sge_la.data.casia_b import load_for
from sge_la.data.layout import AXES
from sge_la.errors import UserError, say
from sge_la.evaluation.matching import nearest
from sge_la.evaluation.pipeline import find_networks
from sge_la.evaluation.score_run import network_of
from sge_la.evaluation.scores import compiled_recogniser, score_everything
from sge_la.evaluation.sides import sequence_features
from sge_la.evaluation.test_sets import AtHand, ProbeSet, are_trained, probe_features
from sge_la.features import cages
from sge_la.features.files import feature_sources
from sge_la.features.sources import FeatureSource
from sge_la.model.gait_encoder import axis_major, decode_frames, encode
from sge_la.model.products import precision
from sge_la.reporting import figures, style
from sge_la.reporting.page import write_report
from sge_la.runs import records
from sge_la.runs.plan import Plan, plan_at_hand, plan_of
from sge_la.settings.options import EvaluateOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FOLDER = 'figures'
# Sequences that are enough for a picture.
_ATTENDED, _EMBEDDED, _GALLERY = 128, 1000, 3000
_NEAREST = 3


def as_evaluated(options) -> EvaluateOptions:
    """The options of train.py as evaluate.py would have them; those of evaluate.py as they are."""
    if isinstance(options, EvaluateOptions):
        return options
    names = {item.name for item in fields(EvaluateOptions)} - {'protocol'}
    shared = {name: getattr(options, name) for name in names if hasattr(options, name)}
    shared['batch_size'] = options.rn_batch_size or options.batch_size
    return EvaluateOptions(**shared, best_model=options.model)


def draw_run(options: EvaluateOptions) -> dict[Path, list[Path]]:
    """Draws everything that a trained and scored run can show, into `figures` beside its results.json.

    Returns the PNG files of each network's folder (IAS can have two); PDF files of the same names lie beside them.

    Raises UserError: Matplotlib is missing, or a file cannot be written.
    """
    plan, at_hand = _at_hand(options)
    written: dict[Path, list[Path]] = {}
    for name, stem, folder in find_networks(plan, at_hand):
        test = ProbeSet.of(name, probe_features(folder, stem, name, plan, at_hand), at_hand.dataset)
        drawn = _network_figures(plan, folder, test, at_hand)
        if not written:
            drawn |= _encoder_figures(plan, folder)
        if at_hand.dataset is not None and at_hand.sources is not None:
            drawn |= _set_figures(options, plan, name, at_hand)
        else:
            say('No pictures of attention, skeletons and encodings: the data set or the encoders are not at hand')
        written[folder] = written.get(folder, []) + style.save(folder / FOLDER, drawn)
        say(f'Figures: {len(drawn)} in {folder / FOLDER}, each as PNG and PDF')
    return written


def _at_hand(options) -> tuple[Plan, AtHand]:
    plan, dataset, absence = plan_at_hand(options)
    return plan, AtHand.of(plan, dataset, absence)


def _network_figures(plan: Plan, folder: Path, test: ProbeSet, at_hand: AtHand) -> dict[str, Figure]:
    """CMC, ROC and confusion matrix of all sequences of a test set."""
    results = (records.read_results(folder) or {}).get('test_sets', {}).get(test.name, {})
    params = network_of(folder, test.name, test.features)
    scored, *_ = score_everything(plan, test, params, at_hand.sources, compiled_recogniser(plan.precision))
    evaluation, sequences, where = scored.evaluation, scored.sequences, style.of_test_set(test.name)
    curves = {'sequences': evaluation.rank_n}
    if 'recording_vote' in results:
        curves['recordings'] = np.array(results['recording_vote']['rank_n'])
    identities = at_hand.dataset.identities if test.split else range(evaluation.num_classes)
    people = [identities[k] for k in evaluation.classes]
    drawn = {
        'cmc': figures.cmc(curves, evaluation.num_classes, f'CMC, {where}'),
        'roc': figures.roc(sequences.scores, sequences.labels, evaluation.nauc, f'ROC, {where}'),
        'confusion': figures.confusion(evaluation.confusion, people, f'Confusion, {where}'),
    }
    if len(people) > figures.MOST_CONFUSED and evaluation.rank1 < 1:
        title = f'The {figures.MOST_CONFUSED} most confused identities\n{where}'
        drawn['confused'] = figures.most_confused(evaluation.confusion, people, title)
    return {f'{test.name}-{kind}': figure for kind, figure in drawn.items()}


def _encoder_figures(plan: Plan, folder: Path) -> dict[str, Figure]:
    """Curves of the training, from the histories that it left."""
    histories = (records.read_epochs(plan.encoders[0].folders[axis]) for axis in AXES)
    encoder = [{**x, **y, **z} for x, y, z in zip(*histories, strict=False)]
    recognition = records.read_epochs(folder)
    if not encoder and not recognition:
        return {}
    tests = (records.read_results(folder) or {}).get('test_sets', {})
    chosen = {name: found['selected']['epoch'] for name, found in tests.items() if 'epoch' in found.get('selected', {})}
    return {'training': figures.training_curves(encoder, recognition, chosen)}


def _set_figures(options, plan: Plan, name: str, at_hand: AtHand) -> dict[str, Figure]:
    """Attention, a reconstruction, encodings in the plane, and best matches, all of one test set."""
    dataset, sources = at_hand.dataset, at_hand.sources()
    split = dataset.tests[name]
    rows = cages.all_rows(split.ids)
    some = rows[np.linspace(0, len(rows) - 1, min(_ATTENDED, len(rows))).astype(int)]
    drawn = {}
    if len(sources) == 1 and sources[0].config.attends:
        weights = attention_weights(options, dataset, sources[0], split.skeletons[some])
        drawn[f'{name}-attention'] = figures.attention(weights)
    if len(sources) == 1:
        drawn[f'{name}-reconstruction'] = _reconstruction(plan.seed, sources[0], split, some, dataset)
    chosen = rows[np.linspace(0, len(rows) - 1, min(_EMBEDDED, len(rows))).astype(int)]
    vectors = sequence_features(sources, split.skeletons, chosen, plan.manner, seed=plan.seed)
    if len(chosen) > 10:
        what = f'{plan.encoding}s of {len(chosen)} sequences (t-SNE)\n{style.of_test_set(name)}'
        drawn[f'{name}-tsne'] = figures.embedding(in_the_plane(vectors), split.labels[chosen], what)
    return drawn | _matches(plan, dataset, name, sources, chosen, vectors)


def attention_weights(options, dataset: Dataset, source: FeatureSource, skeletons: np.ndarray) -> dict[str, np.ndarray]:
    """Mean attention weights over sequences by the attention's name, float [A, T, T]; LA beside BA where both are."""
    weights = {source.config.attention: _mean_weights(source, skeletons)}
    other = {'LA': 'BA', 'BA': 'LA'}.get(options.attention)
    if other and not options.ablation:
        plan = plan_of(replace(options, attention=other, RN_dir=None), dataset)
        if are_trained(plan.encoders):
            weights[other] = _mean_weights(feature_sources(plan)[0], skeletons)
    return dict(sorted(weights.items(), reverse=True))


def _mean_weights(source: FeatureSource, skeletons: np.ndarray) -> np.ndarray:
    encoded = encode(source.config, source.params, axis_major(source.inputs(skeletons)))
    return np.asarray(encoded.alignments).mean(axis=-1)


def _reconstruction(seed: int, source: FeatureSource, split: Split, rows: np.ndarray, dataset: Dataset) -> Figure:
    """The sequence whose error is the middle one among those given."""
    pretext = source.view(split.skeletons, seed, test=True)
    encoded = encode(source.config, source.params, axis_major(pretext.inputs(rows)))
    with precision(source.config.precision):
        output = np.asarray(decode_frames(source.params, encoded)).transpose(2, 1, 3, 0)  # [A, T, B, J] to [B, T, J, A]
    output, target = source.skeletons(output), source.skeletons(pretext.targets(rows))
    error = np.square(output - target).sum(axis=(1, 2, 3))
    middle = int(np.argsort(error)[len(error) // 2])
    return figures.reconstruction(output[middle], target[middle], dataset.skeleton)


def in_the_plane(vectors: np.ndarray) -> np.ndarray:
    """t-SNE of feature vectors, always the same for the same ones: float [N, 2]."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    reduced = PCA(min(50, *vectors.shape), random_state=0).fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init='pca', random_state=0).fit_transform(reduced)


def _matches(plan: Plan, dataset: Dataset, name: str, sources, rows, vectors) -> dict[str, Figure]:
    """The nearest training sequences of a probe whose nearest is of the same person, and of one where it is not."""
    split, train = dataset.tests[name], dataset.train
    everyone = cages.all_rows(train.ids)
    entries = everyone[np.linspace(0, len(everyone) - 1, min(_GALLERY, len(everyone))).astype(int)]
    gallery = sequence_features(sources, train.skeletons, entries, plan.manner, seed=plan.seed)
    found, distances = nearest(vectors, gallery, _NEAREST)
    people = train.labels[entries]
    right = people[found[:, 0]] == split.labels[rows]
    drawn = {}
    for word, chosen in (('right', np.flatnonzero(right)), ('wrong', np.flatnonzero(~right))):
        if not len(chosen):
            continue
        probe = int(chosen[len(chosen) // 2])
        person = split.labels[rows[probe]]
        lines, colours = {f'probe\nidentity {person}': split.skeletons[rows[probe]]}, ['black']
        for place, (entry, distance) in enumerate(zip(found[probe], distances[probe], strict=True), 1):
            same = people[entry] == person
            text = f'rank {place}: {"same" if same else "other"}\nidentity {people[entry]}\ndistance {distance:.2f}'
            lines[text] = train.skeletons[entries[entry]]
            colours.append(style.COLOURS[2] if same else style.GREY)
        share = f'{word} for {style.percent(len(chosen) / len(rows))} of {len(rows)} probes'
        title = (
            f'A probe of the {style.of_test_set(name)} and its nearest training sequences\nRank 1 is {share}, as here'
        )
        drawn[f'{name}-match-{word}'] = figures.strips(lines, dataset.skeleton, title, colours=colours)
    return drawn


def show_run(options) -> None:
    """What `--figures`, `--report` and `--save_features` ask for, after a run was scored."""
    options = as_evaluated(options)
    if options.save_features:
        _save_features(options)
    if not (options.figures or options.report):
        return
    for folder, pictures in draw_run(options).items():
        if options.report:
            say(f'Report: {write_report(folder, pictures)}')


def _save_features(options) -> None:
    plan, at_hand = _at_hand(options)
    if at_hand.dataset is None or at_hand.sources is None:
        why = at_hand.absence or 'the gait encoders are not trained'
        raise UserError(f'--save_features needs the data set and the gait encoders, but {why}')
    named = Path(options.save_features)
    path = named if named.suffix == '.npz' else Path(f'{named}.npz')
    for place in (named, path):
        if place.exists() and not holds_features(place):
            raise UserError(f'--save_features {place}: there is another file of this name; choose another name')
    every = load_for(options, warn=lambda _: None, every=True)
    splits = {'train': every.train, **every.tests}
    save_features(path, GaitEncoder(plan, at_hand.sources()), splits)
    say(f'Features of {", ".join(splits)}: {path}')
