"""What lies in a run's folder besides checkpoints: its options, history and results.

Everything is written beside and renamed. `config.json` holds all options, `history.csv` a row an epoch, `results.json`
the scores, by test set.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sge_la.errors import UserError
from sge_la.files.atomic import os_errors, regular_size
from sge_la.files.text import read_json, write_json, write_text

CONFIG, HISTORY, RESULTS = 'config.json', 'history.csv', 'results.json'
_MAX_HISTORY_BYTES, _MAX_LINE_BYTES, _MAX_CELLS = 64 << 20, 100_000, 500_000
_NEEDED = ('rank1', 'nauc', 'sequences')
_NUMBERS = ('rank1', 'sequences', 'epoch', 'chance', 'classes')


def write_config(folder: Path | str, config: Mapping[str, Any]) -> None:
    """Writes `config.json`."""
    write_json(Path(folder) / CONFIG, config)


def read_config(folder: Path | str) -> dict[str, Any] | None:
    """Reads `config.json`; None if there is none.

    Raises UserError: it is not a JSON object, or one of its parts should be one and is not.
    """
    path = Path(folder) / CONFIG
    config = _read_object(path)
    for name in ('record', 'options', 'environment'):
        if config is not None and not isinstance(config.get(name, {}), dict):
            raise UserError(f'{path}: {name} should be a JSON object and is not; repair or delete the file')
    return config


def write_results(folder: Path | str, results: Mapping[str, Any]) -> None:
    """Writes `results.json`."""
    write_json(Path(folder) / RESULTS, results)


def read_results(folder: Path | str) -> dict[str, Any] | None:
    """Reads `results.json`; None if there is none.

    Raises UserError: it is not a JSON object, or `test_sets` holds anything but scores by test set and by kind.
    """
    path = Path(folder) / RESULTS
    results = _read_object(path)
    if results is not None and (bad := not_scores(results.get('test_sets', {}))):
        raise UserError(f'{path}: {bad} should hold scores as this program writes them, and does not; delete the file')
    if results is not None and not_seconds(results.get('seconds', {})):
        raise UserError(f'{path}: seconds should hold the times of the stages, and does not; delete the file')
    if results is not None and (bad := _not_matchings(results.get('gallery', {}))):
        raise UserError(f'{path}: {bad} should hold scores of a matching, and does not; delete the file')
    return results


def differences(there: Mapping[str, Any], asked: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Compares two configurations.

    `there`: the one that a folder holds; `asked`: the one of this run; `keys`: the options that change a result.
    Returns 'length: 6 there, 8 asked' for each option that differs; one that is missing counts as null.
    """
    pairs = [(key, _as_json(there.get(key)), _as_json(asked.get(key))) for key in keys]
    return [f'{json.dumps(key)[1:-1]}: {json.dumps(a)} there, {json.dumps(b)} asked' for key, a, b in pairs if a != b]


def write_history(folder: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `history.csv`: a header and a row an epoch; columns are the keys in the order that they first occur in."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_text(Path(folder) / HISTORY, text.getvalue())


def read_history(folder: Path | str) -> list[dict[str, Any]]:
    """Reads `history.csv`; [] if there is none.

    Returns a dict a row: numbers as int or float, empty cells left out, anything else as text. Raises UserError: the
    file is no such table.
    """
    path = Path(folder) / HISTORY
    if not path.exists():
        return []
    if regular_size(path) > _MAX_HISTORY_BYTES:
        raise UserError(f'{path} should be a history of epochs and is larger than {_MAX_HISTORY_BYTES} bytes')
    with os_errors(path, 'read'):
        content = path.read_bytes()
    try:
        lines = _table(content)
    except (csv.Error, ValueError) as error:
        raise UserError(f'{path} should be a CSV table and is not ({error}); repair or delete it') from error
    columns = lines[0] if lines else []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(columns):
            raise UserError(
                f'{path}, row {number}: expected {len(columns)} values, found {len(line)}; repair or delete the file'
            )
    return [{key: _number(cell) for key, cell in zip(columns, line, strict=True) if cell} for line in lines[1:]]


def _table(content: bytes) -> list[list[str]]:
    """The rows of a CSV file in memory that is bounded by the number of its cells."""
    if content.count(b'\n') + content.count(b'\r') > _MAX_CELLS:
        raise ValueError(f'it has more than {_MAX_CELLS} lines')
    if max(map(len, content.split(b'\n'))) > _MAX_LINE_BYTES:
        raise ValueError(f'a line has more than {_MAX_LINE_BYTES} bytes')
    lines, cells = [], 0
    for line in csv.reader(io.StringIO(content.decode(), newline=''), strict=True):
        lines.append(line)
        cells += len(line)
        if cells > _MAX_CELLS:
            raise ValueError(f'it has more than {_MAX_CELLS} values')
    return lines


def read_epochs(folder: Path | str) -> list[dict[str, Any]]:
    """Reads the history of a training, as `read_history` does, and checks that row n is of epoch n.

    Raises UserError: it is not, or a number is too large to be drawn.
    """
    rows = read_history(folder)
    for number, row in enumerate(rows, 1):
        sane = all(isinstance(value, str) or value != value or abs(value) < 1e300 for value in row.values())
        if row.get('epoch') != number or not sane:
            raise UserError(
                f'{Path(folder) / HISTORY}, row {number + 1}: expected the numbers of epoch {number}, found '
                f'{str(row)!a:.80}; repair or delete the file'
            )
        row['epoch'] = number
    return rows


def _read_object(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f'{path} should hold a JSON object and holds a {type(value).__name__}; repair or delete it')
    return value


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(cell)
    return cell


def not_scores(test_sets: Any) -> str:
    """Names the first part of `test_sets` that is not as this program writes it; '' if there is none.

    `test_sets`: test set → kind ('selected', 'all_sequences', 'last', ...) → scores.
    """
    if not isinstance(test_sets, dict):
        return 'test_sets'
    for name, kinds in test_sets.items():
        if not isinstance(kinds, dict):
            return ascii(name)
        for kind, found in kinds.items():
            if not (_are_by_name(kind, found) if kind in ('tasks', 'epochs') else _are_scores(kind, found)):
                return f'{name!a}, {kind!a},'
    return ''


_OF_MATCHING = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP', 'probes', 'skipped')


def _not_matchings(gallery: Any) -> str:
    """Names the first part of `gallery` (metric and level → pair of sets → scores) that is no such thing, or ''."""
    if not isinstance(gallery, dict):
        return 'gallery'
    for key, pairs in gallery.items():
        for pair, found in pairs.items() if isinstance(pairs, dict) else [('', None)]:
            sound = isinstance(found, dict) and all(_is_number(found.get(name)) for name in _OF_MATCHING)
            if not sound or not isinstance(found.get('excluded'), str):
                return f'gallery, {key!a}, {pair!a},'
    return ''


def not_seconds(seconds: Any) -> bool:
    """Whether the times of a run's stages are not as this program writes them."""
    return not isinstance(seconds, dict) or not all(map(_is_number, seconds.values()))


def _are_by_name(kind: str, found: Any) -> bool:
    """Scores of each task, or of each epoch by the rule that chose it."""
    kind = 'last' if kind == 'epochs' else ''
    return isinstance(found, dict) and all(_are_scores(kind, scores) for scores in found.values())


def _are_scores(kind: str, found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    # Which epoch was chosen is known before it is scored.
    needed = () if kind == 'selected' and 'rank1' not in found else _NEEDED
    needed = (*needed, 'epoch') if kind == 'last' else needed
    ranks, spans = found.get('rank_n', []), found.get('intervals', {})
    return (
        all(name in found for name in needed)
        and all(_is_number(found[name]) for name in _NUMBERS if name in found)
        and all(_is_number_or_none(found.get(name)) for name in ('nauc', 'nauc_of_probabilities'))
        and found.get('select', 'test') in ('test', 'last', 'val')
        and isinstance(found.get('resampled', ''), str)
        and isinstance(ranks, list)
        and all(map(_is_number, ranks))
        and isinstance(spans, dict)
        and all(map(_is_span, spans.values()))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 2**53


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number_or_none, value))
