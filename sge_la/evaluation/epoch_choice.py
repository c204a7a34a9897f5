"""The choice of the epoch, and what the epochs score that three rules choose, side by side.

'test': best on the test set, as the original chooses; 'last': the last one; 'val': best on held-out training sequences.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.runs.state_files import RunState
from sge_la.runs.states import TrainingState

RULES = {'test': 'test set', 'last': 'nobody: last', 'val': 'held-out data'}
NOTHING_HELD = 'no training recording was held out to choose by: --select val does that'


class EpochScores:
    """The scores of the best epochs so far, by test set and rule.

    `found`: test set → 'test' or 'val' → scores with `epoch`, and `held`, the accuracy on held-out sequences.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, dict]] = {}

    def offer(self, name: str, epoch: int, accuracy: float, held: float | None, scores: Callable[[], dict]) -> None:
        """Looks at a finished epoch; later epochs win ties.

        `name`: of a test set; `epoch`: its number; `accuracy`: Rank-1 on the test set; `held`: accuracy on held-out
        sequences, None where there are none; `scores`: gives what is kept of the epoch.
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


def columns(found: Mapping) -> list[tuple[str, ...]]:
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


@dataclass
class Best:
    """The best epoch so far, for one checkpoint.

    `stem`: the checkpoint's file name; `score`: of that epoch; -1 before the first; `epoch`: its number; `params`: its
    weights.
    """

    stem: str
    score: float = -1.0
    epoch: int = 0
    params: dict = field(default_factory=dict)

    def take(self, score: float, state: TrainingState) -> None:
        self.score, self.epoch = score, state.epoch
        self.params = state.arrays()['params']


class EpochChoice:
    """Keeps the weights of the chosen epoch.

    'test': the original's rule: best on the test set, later epochs win ties. IAS keeps three checkpoints: `A_` and
    `B_` when that test set gains, and a joint one when one of them and their sum gain. 'val': best on held-out
    training sequences. 'last': the last epoch.

    `joint`, `single`: the checkpoints; `scores`: of the epochs that either rule would choose.
    """

    def __init__(self, select: str, names: list[str]):
        self.select = select
        self.joint = Best(CHECKPOINT_STEM)
        self.single = {name: Best(f'{name}_{CHECKPOINT_STEM}') for name in names} if len(names) > 1 else {}
        self.scores = EpochScores()

    def offer(self, accuracies: dict[str, float], held: float | None, state: TrainingState) -> None:
        """Looks at a finished epoch: accuracies on the test sets, and on the held-out sequences."""
        if self.select != 'test':
            score = held if self.select == 'val' else self.joint.score
            for best in (self.joint, *self.single.values()):
                if score >= best.score:
                    best.take(score, state)
            return
        total = sum(accuracies.values())
        if not self.single:
            if total >= self.joint.score:
                self.joint.take(total, state)
            return
        gained = [name for name, best in self.single.items() if accuracies[name] > best.score]
        for name in gained:
            self.single[name].take(accuracies[name], state)
        if gained and total > self.joint.score:
            self.joint.take(total, state)

    def all(self) -> list[Best]:
        return [self.joint, *self.single.values()]

    def kept(self) -> tuple[dict[str, dict], dict]:
        """What an unfinished run must keep: weights by part, and scores and epochs."""
        parts = {f'best_{best.stem}': best.params for best in self.all() if best.epoch}
        best = {best.stem: [best.score, best.epoch] for best in self.all()}
        return parts, {'best': best, 'scores': self.scores.found}

    def restore(self, state: RunState) -> None:
        """Takes back what `kept` gave."""
        for best in self.all():
            score, epoch = state.meta['best'][best.stem]
            best.score, best.epoch = float(score), operator.index(epoch)
            best.params = state.parts[f'best_{best.stem}'] if best.epoch else {}
        found = state.meta.get('scores', {})
        for scores in (scores for rules in found.values() for scores in rules.values()):
            float(scores['rank1']), operator.index(scores['epoch'])
        self.scores.found = found
