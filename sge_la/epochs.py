"""What the epochs score that three rules choose, side by side, whichever of them a run keeps its network by.

'test': best on the test set, as the original chooses; 'last': the last one; 'val': best on held-out training sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

RULES = {'test': 'test set', 'last': 'nobody: last', 'val': 'held-out data'}
NOTHING_HELD = 'no training recording was held out to choose by: --select val does that'


class EpochScores:
    """The scores of the best epochs so far, by test set and rule.

    Attributes:
        found: test set → 'test' or 'val' → scores with `epoch`, and `held`, the accuracy on held-out sequences.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, dict]] = {}

    def offer(self, name: str, epoch: int, accuracy: float, held: float | None, scores: Callable[[], dict]) -> None:
        """Looks at a finished epoch; later epochs win ties.

        Args:
            name: of a test set.
            epoch: its number.
            accuracy: Rank-1 on the test set.
            held: accuracy on held-out sequences, None where there are none.
            scores: gives what is kept of the epoch.
        """
        best = self.found.setdefault(name, {})
        won = [] if accuracy < best.get('test', {}).get('rank1', -1) else ['test']
        if held is not None and held >= best.get('val', {}).get('held', -1):
            won.append('val')
        if won:
            kept = {**scores(), 'rank1': accuracy, 'epoch': epoch, **({} if held is None else {'held': held})}
            best |= dict.fromkeys(won, kept)


def side_by_side(found: Mapping) -> dict[str, Mapping]:
    """Scores by rule of one test set in results.json; a rule is missing where its epoch is not known.

    A run of an older version kept the last epoch and the one that it chose, and no others.
    """
    if 'epochs' in found:
        return dict(found['epochs'])
    selected, last = found.get('selected', {}), found.get('last')
    known = {selected['select']: selected} if {'select', 'epoch', 'rank1'} <= set(selected) else {}
    return {**known, **({'last': last} if last else {})}


def columns(found: Mapping) -> list[tuple[str, str, str, str]]:
    """Title, epoch, Rank-1 and nAUC of each rule, as text; '–' where the epoch is not known."""
    rows = []
    for rule, title in RULES.items():
        scores = side_by_side(found).get(rule, {})
        texts = [f'{scores[name]:.6f}' if scores.get(name) is not None else '–' for name in ('rank1', 'nauc')]
        rows.append((title, str(scores.get('epoch', '–')), *texts))
    return rows


def lines(found: Mapping) -> Iterator[str]:
    """The printed table; nothing where no epoch is known."""
    known = side_by_side(found)
    if not known:
        return
    titles = ('Epoch chosen by', 'Epoch', 'Rank-1 Accuracy', 'nAUC')
    for title, *cells in zip(titles, *columns(found), strict=True):
        yield f'{title:15}' + ''.join(f'  {cell:>13}' for cell in cells)
    if 'val' not in known:
        yield f'({NOTHING_HELD})'
