"""One page with everything about a run: tables, figures, settings, environment and times, in a single HTML file.

The page needs no network: pictures are inside it. It is plain HTML with a few lines of style, and has no script.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from sge_la.data.dataset import LEAKS
from sge_la.errors import UserError, typed
from sge_la.evaluation import epoch_choice
from sge_la.evaluation.epoch_choice import NOTHING_HELD
from sge_la.evaluation.score_lines import PROBABILITIES
from sge_la.files.atomic import os_errors
from sge_la.files.text import write_text
from sge_la.reporting.style import percent
from sge_la.runs import records
from sge_la.runs.banner import CHOSEN
from sge_la.settings.command_line import flags_again
from sge_la.settings.papers import PLUS
from sge_la.settings.recipe import MODERN

NAME = 'report.html'
# The scores of a test set: key in results.json, and what it is called.
_ROWS = {
    'all_sequences': 'all sequences',
    'recording_vote': 'vote of each recording',
    'selected': 'as the original scores',
}
_TASKS = {'rev_rec': 'reverse reconstruction', PLUS: 'reverse reconstruction, prediction and sorting'}
_ATTENTION = {'LA': 'locality-aware attention', 'BA': 'basic attention'}
# In the order of the page; the curves of the training, which belong to no test set, come last.
_CAPTIONS = {
    'cmc': 'CMC: how often the true identity is among the first n of the ranking (identification rate).',
    'roc': 'ROC over all pairs of sequence and identity: a pair is accepted if its score reaches the threshold.',
    'confusion': 'Confusion matrix; a row has the sequences of one true identity.',
    'confused': 'The identities with most mistakes, as true or predicted identity.',
    'match-right': "Training sequences whose encodings are nearest to a probe's; the first is of the same person.",
    'match-wrong': "Training sequences whose encodings are nearest to a probe's; the first is of another person.",
    'tsne': 'Encodings of sequences in the plane, by identity.',
    'attention': 'Attention weights, mean over sequences: how much each decoded frame takes from each input frame.',
    'reconstruction': 'A decoded sequence of middling error below its target.',
    'training': 'Losses and accuracies over the epochs.',
}
_WIDE = 1000  # pixels; wider pictures take both columns of the page
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem; align-items: start; }
figure { margin: 0; } figure.wide { grid-column: 1 / 3; } figure img { max-width: 100%; height: auto; }
figcaption { color: #555; } details { margin: 1rem 0; } .note { color: #555; }
pre { background: #f4f4f4; padding: .7rem 1rem; overflow-x: auto; }
"""


def write_report(folder: Path, pictures: Sequence[Path]) -> Path:
    """Writes `report.html` beside a run's results.json, with these PNG files in it; returns its path."""
    config, results = records.read_config(folder) or {}, records.read_results(folder) or {}
    path = folder / NAME
    write_text(path, '\n'.join(_page(folder, config, results, pictures)) + '\n')
    return path


def _page(folder: Path, config: Mapping, results: Mapping, pictures: Sequence[Path]) -> Iterable[str]:
    options = config.get('options', {})
    title, below = _title(options)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>'
    yield f'<p class="note">{escape(below)}Run <code>{escape(folder.name)}</code>.</p>'
    if results.get('leaks'):
        yield f'<p><strong>{escape(LEAKS)}.</strong></p>'
    for test, found in results.get('test_sets', {}).items():
        yield f'<h2>{escape(_of_test_set(test))}</h2>'
        yield from _headline(found.get('all_sequences', {}))
        yield from _scores(found)
    for key, pairs in results.get('gallery', {}).items():
        yield f'<h2>Gallery and probe ({escape(key)})</h2>'
        yield from _gallery(pairs)
    if pictures:
        yield '<h2>Figures</h2>\n<div class="figures">'
        yield from map(_picture, sorted(pictures, key=_place))  # those of a test set stay together
        yield '</div>'
    yield '<h2>How to reproduce</h2>'
    yield from _commands(folder, options)
    for heading, content in (
        ('Settings', options),
        ('Environment', config.get('environment', {})),
        ('Seconds', results.get('seconds', {})),
    ):
        given = {key: value for key, value in content.items() if str(value) not in ('None', 'False', '')}
        if given:
            yield f'<details open>\n<summary>{heading}</summary>'
            yield from _table(('name', 'value'), given.items())
            yield '</details>'
    yield '</body>\n</html>'


def _title(options: Mapping) -> tuple[str, str]:
    """What was done, in one line and in a further sentence; less where a run of the original says nothing of itself."""
    if 'dataset' not in options:
        return 'Person re-identification from 3D skeletons', ''
    view = '' if options.get('view') is None else f', view {options["view"]}'
    length = f' of {options["length"]} frames' if 'length' in options else ''
    title = f'Person re-identification on {options["dataset"]}{view}: {options.get("encoding", "CAGE")}s{length}'
    if options.get('ablation'):
        return title, f"Row {options['ablation']} of the IJCAI paper's ablation. "
    task, attention = str(options.get('model', 'rev_rec')), str(options.get('attention', 'LA'))
    words = [_TASKS.get(task, task), *([] if task == PLUS else [_ATTENTION.get(attention, attention)])]
    words += ['modern recipe'] * (options.get('recipe') == MODERN)
    return title, f'Gait encoders: {", ".join(words)}. '


def _of_test_set(name: str) -> str:
    return 'Test set' if name == 'test' else f'Test set {name}'


def _headline(scores: Mapping) -> Iterable[str]:
    if {'rank1', 'sequences', 'classes', 'chance'} <= set(scores):
        interval = f' (95 % interval {span})' if (span := _span(scores)) else ''
        yield (
            f'<p><strong>{percent(scores["rank1"])}</strong> of {scores["sequences"]} sequences are identified at '
            f'rank 1{interval}, among {scores["classes"]} people; chance is {percent(scores["chance"])}.</p>'
        )


def _span(scores: Mapping) -> str:
    """The interval of Rank-1."""
    span = scores.get('intervals', {}).get('rank1')
    return f'{percent(span[0])} to {percent(span[1])}' if span and None not in span else ''


def _commands(folder: Path, options: Mapping) -> Iterable[str]:
    """What makes the run, from its options, and what scores and draws it; folders as they were named."""
    lines, data_dir = [], options.get('data_dir') if 'dataset' in options else None
    if 'dataset' in options:
        try:
            lines.append(typed('train', *flags_again(options, 'config.json')))
        except UserError as error:
            yield f'<p class="note">The options of the run cannot be typed again: {escape(str(error))}.</p>'
    places = {'models_dir': folder.parent.parent, 'report': True, 'data_dir': data_dir}
    lines.append(typed('evaluate', RN_dir=folder.name, **places))
    yield '<pre>' + escape('\n'.join(lines)) + '</pre>'
    yield '<p class="note">The same seed, machine and versions give the same numbers; others come close.</p>'


def _scores(found: Mapping) -> Iterable[str]:
    """One table: what was scored in several ways, and the epochs that other rules would have chosen."""
    chosen, by_rule = found.get('selected', {}).get('select'), epoch_choice.side_by_side(found)
    kinds = {title: found[key] for key, title in _ROWS.items() if key in found}
    for rule in [rule for rule in CHOSEN if rule in by_rule and rule != chosen]:
        kinds[f'{_ROWS["selected"]}, epoch: {CHOSEN[rule]}'] = by_rule[rule]
    notes = [f'Epoch chosen: {CHOSEN[chosen]}.'] if chosen else []
    if 'val' not in by_rule:
        notes.append(f'Held-out data: {NOTHING_HELD}.')
    if 'resampled' in found.get('all_sequences', {}):
        notes.append(f'Intervals resample {found["all_sequences"]["resampled"]}.')
    yield f'<p class="note">{escape(" ".join(notes))}</p>'
    rows = []
    for title, scores in kinds.items():
        ranks = scores.get('rank_n', [])
        shares = [percent(ranks[n - 1]) if len(ranks) >= n else '' for n in (1, 5, 10)]
        areas = ('' if scores.get(key) is None else f'{scores[key]:.3f}' for key in ('nauc', PROBABILITIES))
        rows.append((title, scores.get('epoch', ''), *shares, _span(scores), *areas, scores.get('sequences', '')))
    ranks = 'Rank-1', 'Rank-5', 'Rank-10', '95 % interval of Rank-1'
    header = ('', 'epoch', *ranks, 'nAUC', 'nAUC of probabilities', 'scored')
    yield from _table(header, rows)


def _gallery(pairs: Mapping) -> Iterable[str]:
    header = ('probe → gallery', 'mAP', 'Rank-1', 'Rank-5', 'Rank-10', 'mINP', 'probes', 'skipped')
    names = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')
    yield from _table(
        header,
        [
            (pair, *(percent(found[name]) for name in names), found['probes'], found['skipped'])
            for pair, found in pairs.items()
        ],
    )
    for note in dict.fromkeys(found['excluded'] for found in pairs.values()):
        yield f'<p class="note">{escape(note)}</p>'


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    yield '<table>\n<tr>' + ''.join(f'<th>{escape(title)}</th>' for title in header) + '</tr>'
    for row in rows:
        cells = (
            f'<td>{escape(str(cell))}</td>' if index == 0 or not _is_number(cell) else f'<td class="number">{cell}</td>'
            for index, cell in enumerate(row)
        )
        yield f'<tr>{"".join(cells)}</tr>'
    yield '</table>'


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) or str(cell).replace('.', '', 1).rstrip(' %').isdigit()


def _kind(path: Path) -> str:
    return next((kind for kind in _CAPTIONS if path.stem.endswith(kind)), '')


def _place(path: Path) -> tuple[bool, str, int]:
    kind = _kind(path)
    return kind == 'training', path.stem.removesuffix(kind), [*_CAPTIONS, ''].index(kind)


def _picture(path: Path) -> str:
    with os_errors(path, 'read'):
        content = path.read_bytes()
    kind = _kind(path)
    test = path.stem.removesuffix(kind).rstrip('-')
    caption = f'{f"{_of_test_set(test)}. " if test else ""}{_CAPTIONS.get(kind, path.stem)}'
    wide = ' class="wide"' * (int.from_bytes(content[16:20], 'big') > _WIDE)  # where PNG files have their width
    image = f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}" alt="{escape(caption)}">'
    return f'<figure{wide}>\n{image}\n<figcaption>{escape(caption)}</figcaption>\n</figure>'
