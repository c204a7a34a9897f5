"""What `results.json` may hold where it is read back: scores by test set, whoever has written them."""

from __future__ import annotations

from typing import Any

_NEEDED = ('rank1', 'nauc', 'sequences')
_NUMBERS = ('rank1', 'sequences', 'epoch', 'chance', 'classes')


def not_scores(test_sets: Any) -> str:
    """Names the first part of `test_sets` that is not as this program writes it; '' if there is none.

    Args:
        test_sets: test set → kind ('selected', 'all_sequences', 'last', ...) → scores.
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
        and _is_number_or_none(found.get('nauc'))
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
