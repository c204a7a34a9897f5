"""One page with everything about a run: tables, figures, settings, environment and times, in a single HTML file.

The page needs no network: pictures are inside it. It is plain HTML with a few lines of style, and has no script.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sge_la.evaluation import epoch_choice
from sge_la.evaluation.epoch_choice import NOTHING_HELD
from sge_la.files.atomic import os_errors
from sge_la.files.text import write_text
from sge_la.runs import records

NAME = 'report.html'
# The scores of a test set: key in results.json, and what it is called.
_ROWS = {
    'selected': 'as the original scores',
    'all_sequences': 'all sequences',
    'recording_vote': 'vote of each recording',
    'last': 'last epoch',
}
_SELECTED = {'test': 'best on the test set', 'last': 'the last', 'val': 'best on held-out training sequences'}
_CAPTIONS = {
    'training': 'Losses and accuracies over the epochs.',
    'cmc': 'CMC: share of sequences whose person is among the n first answers.',
    'roc': 'ROC over all pairs of sequence and person.',
    'confusion': 'Who was taken for whom; rows are true persons.',
    'attention': 'Attention weights, mean over sequences: how much each decoded frame takes from each input frame.',
    'reconstruction': 'A decoded sequence of middling error beside its target.',
    'tsne': 'Encodings of sequences in the plane, by person.',
    'match-right': 'A probe whose nearest training sequence is of the same person.',
    'match-wrong': 'A probe whose nearest training sequence is of another person.',
}
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0 2rem; } figure img { max-width: 100%; height: auto; }
figcaption { color: #555; } details { margin: 1rem 0; } .note { color: #555; }
"""


def write_report(folder: Path, pictures: Sequence[Path]) -> Path:
    """Writes `report.html` beside a run's results.json, with these PNG files in it; returns its path."""
    config, results = records.read_config(folder) or {}, records.read_results(folder) or {}
    path = folder / NAME
    write_text(path, '\n'.join(_page(folder.name, config, results, pictures)) + '\n')
    return path


def _page(name: str, config: Mapping, results: Mapping, pictures: Sequence[Path]) -> Iterable[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{escape(name)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(name)}</h1>'
    for test, found in results.get('test_sets', {}).items():
        yield f'<h2>Test set {escape(test)}</h2>'
        yield from _scores(found)
    for key, pairs in results.get('gallery', {}).items():
        yield f'<h2>Gallery and probe ({escape(key)})</h2>'
        yield from _gallery(pairs)
    if pictures:
        yield '<h2>Figures</h2>'
        yield from map(_picture, pictures)
    for title, content in (
        ('Settings', config.get('options', {})),
        ('Environment', config.get('environment', {})),
        ('Seconds', results.get('seconds', {})),
    ):
        if content:
            yield f'<details open>\n<summary>{title}</summary>'
            yield from _table(('name', 'value'), [(key, _shown(value)) for key, value in content.items()])
            yield '</details>'
    yield '</body>\n</html>'


def _scores(found: Mapping) -> Iterable[str]:
    rows = []
    for key, title in _ROWS.items():
        if key not in found:
            continue
        scores = found[key]
        ranks = scores.get('rank_n', [])
        shares = [_percent(ranks[n - 1]) if len(ranks) >= n else '' for n in (1, 5, 10)]
        span = scores.get('intervals', {}).get('rank1')
        interval = f'{_percent(span[0])} to {_percent(span[1])}' if span and None not in span else ''
        nauc = '' if scores.get('nauc') is None else f'{scores["nauc"]:.4f}'
        rows.append((title, scores.get('epoch', ''), *shares, interval, nauc, scores.get('sequences', '')))
    header = ('', 'epoch', 'Rank-1', 'Rank-5', 'Rank-10', '95 % interval of Rank-1', 'nAUC', 'scored')
    yield from _table(header, rows)
    if epoch_choice.side_by_side(found):
        yield from _table(('epoch chosen by', 'epoch', 'Rank-1', 'nAUC'), epoch_choice.columns(found))
    notes = []
    if select := found.get('selected', {}).get('select'):
        notes.append(f'Epoch chosen: {_SELECTED[select]}.')
    if 'val' not in epoch_choice.side_by_side(found):
        notes.append(f'Held-out data: {NOTHING_HELD}.')
    if 'resampled' in found.get('all_sequences', {}):
        notes.append(f'Intervals resample {found["all_sequences"]["resampled"]}.')
    if chance := found.get('selected', {}).get('chance'):
        notes.append(f'Chance: Rank-1 {_percent(chance)}, nAUC 0.5.')
    yield f'<p class="note">{escape(" ".join(notes))}</p>'


def _gallery(pairs: Mapping) -> Iterable[str]:
    header = ('probe → gallery', 'mAP', 'Rank-1', 'Rank-5', 'Rank-10', 'mINP', 'probes', 'skipped')
    names = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')
    yield from _table(
        header,
        [
            (pair, *(_percent(found[name]) for name in names), found['probes'], found['skipped'])
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


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %'


def _shown(value: Any) -> str:
    return '' if value is None else {True: 'yes', False: 'no'}[value] if isinstance(value, bool) else str(value)


def _picture(path: Path) -> str:
    with os_errors(path, 'read'):
        content = base64.b64encode(path.read_bytes()).decode('ascii')
    ending = next((ending for ending in _CAPTIONS if path.stem.endswith(ending)), '')
    test = path.stem.removesuffix(ending).rstrip('-')
    caption = f'{f"{test}: " if test else ""}{_CAPTIONS.get(ending, path.stem)}'
    return (
        f'<figure>\n<img src="data:image/png;base64,{content}" alt="{escape(caption)}">\n'
        f'<figcaption>{escape(caption)}</figcaption>\n</figure>'
    )
