"""What the runs of a sweep have scored: a line for each setting, mean and deviation over its seeds, with intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.evaluation.intervals import RunSummary, summarise_runs
from sge_la.files.atomic import make_folder
from sge_la.files.text import write_text
from sge_la.sweep.runs import Run, differing
from sge_la.sweep.single import scores_of

METRICS = {'rank1': 'Rank-1', 'nauc': 'nAUC'}
_IN_LATEX = {letter: f'\\{letter}' for letter in '&%#_${}'} | {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '±': r'$\pm$',
    '–': '--',
}
# What the files are called.
STEM = 'table'
_CHOSEN = {'test': 'best on the test set', 'last': 'last', 'val': 'best on held-out data'}
NOTE = (
    'Rank-1 and nAUC in per cent, of all test sequences. ± is the standard deviation over seeds. Intervals are of '
    '95 %: over seeds the t interval of their mean; of a single run what another make-up of its test set would move.'
)


@dataclass(frozen=True)
class Line:
    """A setting on a test set: `setting` by flag; `epoch`: which was kept; `found`: by metric; `seeds`: how many."""

    setting: Mapping[str, Any]
    test: str
    epoch: str
    found: Mapping[str, RunSummary]
    seeds: int


def lines_of(runs: Sequence[Run]) -> list[Line]:
    """The lines of the table: settings in the order of the runs; what is not scored yet is left out."""
    names = list(dict.fromkeys(['dataset', *differing(run.setting for run in runs)]))
    settings: dict[tuple, list[Run]] = {}
    for run in runs:
        settings.setdefault(tuple(sorted(run.setting.items())), []).append(run)
    found = []
    for repeats in settings.values():
        shown = {name: getattr(repeats[0].options, name) for name in names}
        scored = [scores for scores in (scores_of(run.options) for run in repeats) if scores]
        tests = dict.fromkeys(test for scores in scored for test in scores)
        found += [_line(shown, test, [scores[test] for scores in scored if test in scores]) for test in tests]
    return found


def _line(setting: Mapping[str, Any], test: str, scored: Sequence[Mapping[str, Any]]) -> Line:
    every = [one['all_sequences'] for one in scored]
    numbers = [{name: one[name] for name in METRICS if one.get(name) is not None} for one in every]
    found = summarise_runs(numbers)
    if len(every) == 1:  # no seeds to tell of: how far the test set moves it, which evaluation has found
        ends = every[0].get('intervals', {})  # null where there was nothing to resample
        low_high = {name: [np.nan if end is None else end for end in ends.get(name, (None, None))] for name in found}
        found = {name: RunSummary(one.mean, one.sd, *low_high[name], 1) for name, one in found.items()}
    chosen = dict.fromkeys(_CHOSEN.get(one['selected'].get('select'), 'unknown') for one in scored)
    return Line(setting, test, ' or '.join(chosen), found, len(scored))


def write_tables(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Writes the table as CSV (numbers as they are), Markdown and LaTeX; returns the files."""
    texts = {'csv': as_csv(lines), 'md': as_markdown(lines), 'tex': as_latex(lines)}
    paths = [make_folder(folder) / f'{STEM}.{ending}' for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def as_csv(lines: Sequence[Line]) -> str:
    """A row a line; of each metric mean, standard deviation and ends of the interval, empty where there is none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator='\n')
    parts = ('mean', 'sd', 'low', 'high')
    rows.writerow([*_flags(lines), 'test set', 'epoch', 'seeds', *(f'{n}_{part}' for n in METRICS for part in parts)])
    for line in lines:
        cells = [getattr(line.found.get(name), part, None) for name in METRICS for part in parts]
        rows.writerow(
            [*_words(line), line.test, line.epoch, line.seeds, *('' if c is None or c != c else c for c in cells)]
        )
    return text.getvalue()


def as_markdown(lines: Sequence[Line]) -> str:
    """A table of Markdown with its note."""
    head = [*_flags(lines), 'test set', 'epoch', 'seeds', *_titles()]
    rows = [head, ['---'] * len(head), *_rows(lines)]
    return '\n'.join(f'| {" | ".join(cell.replace("|", "/") for cell in row)} |' for row in rows) + f'\n\n{NOTE}\n'


def as_latex(lines: Sequence[Line]) -> str:
    """A `tabular` that needs no package, with its note as a comment."""
    head = [*_flags(lines), 'test set', 'epoch', 'seeds', *_titles()]
    rows = [' & '.join(map(_escaped, row)) + r' \\' for row in (head, *_rows(lines))]
    body = ['\\hline', rows[0], '\\hline', *rows[1:], '\\hline']
    columns = 'l' * (len(head) - 1 - 2 * len(METRICS)) + 'r' * (1 + 2 * len(METRICS))
    return '\n'.join([f'% {NOTE}', f'\\begin{{tabular}}{{{columns}}}', *body, '\\end{tabular}', ''])


def _titles() -> list[str]:
    return [title for name in METRICS.values() for title in (name, 'interval')]


def _flags(lines: Sequence[Line]) -> list[str]:
    return list(lines[0].setting) if lines else []


def _words(line: Line) -> list[str]:
    return ['' if value is None else str(value) for value in line.setting.values()]


def _rows(lines: Sequence[Line]) -> Iterator[list[str]]:
    for line in lines:
        cells = [*_words(line), line.test, line.epoch, str(line.seeds)]
        for name in METRICS:
            cells += _in_percent(line.found.get(name))
        yield cells


def _in_percent(found: RunSummary | None) -> tuple[str, str]:
    if found is None:
        return '–', ''
    spread = '' if found.sd != found.sd else f' ± {100 * found.sd:.1f}'
    low, high = (min(max(end, 0.0), 1.0) for end in (found.low, found.high))  # no share lies beyond these
    ends = '' if found.low != found.low else f'{100 * low:.1f} to {100 * high:.1f}'
    return f'{100 * found.mean:.1f}{spread}', ends


def _escaped(text: str) -> str:
    return ''.join(_IN_LATEX.get(letter, letter) for letter in text)
