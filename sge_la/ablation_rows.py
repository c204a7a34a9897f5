"""The rows of the IJCAI paper's ablation (Table 2, BIWI) as settings of this model, with the paper's numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sge_la.errors import UserError


@dataclass(frozen=True)
class AblationRow:
    """One row: GE gait encoder, GD decoder, Rev reversed targets, BAS/MBAS/LAS attention, AGEs as features.

    Attributes:
        name: the parts that it has, joined by '-'.
        rank1, nauc: the paper's, on BIWI.
    """

    name: str
    rank1: float
    nauc: float

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.name.split('-'))

    @property
    def labelled(self) -> bool:
        """Without a decoder there is no pretext task: the encoder is trained with labels."""
        return 'GD' not in self.parts

    @property
    def reverse(self) -> bool:
        """Whether the decoder's target is the input reversed in time, or as it is."""
        return 'Rev' in self.parts

    @property
    def attention(self) -> str:
        """'BA', 'MBA' (our reading of MBAS: weights times the locality mask, renormalised), 'LA' or 'none'."""
        names = {'BAS': 'BA', 'MBAS': 'MBA', 'LAS': 'LA'}
        return next((names[part] for part in self.parts if part in names), 'none')

    @property
    def features(self) -> str:
        """'context' for AGEs, 'states' of the encoder without them, as `sge_la.cages` calls them."""
        return 'context' if 'AGEs' in self.parts else 'states'

    @property
    def encoder(self) -> str | None:
        """The name of the encoder, which rows with and without AGEs share; None: an AGE encoder as it always is."""
        if self.reverse and self.attention in ('BA', 'LA'):
            return None
        return self.name.removesuffix('-AGEs')


ROWS = {
    row.name: row
    for row in (
        AblationRow('GE', 36.1, 75.6),
        AblationRow('GE-GD', 41.5, 80.1),
        AblationRow('GE-GD-Rev', 46.7, 81.5),
        AblationRow('GE-GD-BAS-AGEs', 45.7, 84.1),
        AblationRow('GE-GD-Rev-BAS', 53.3, 84.6),
        AblationRow('GE-GD-Rev-BAS-AGEs', 55.1, 85.2),
        AblationRow('GE-GD-Rev-MBAS', 52.9, 85.0),
        AblationRow('GE-GD-MBAS-AGEs', 53.1, 83.6),
        AblationRow('GE-GD-Rev-MBAS-AGEs', 54.5, 85.6),
        AblationRow('GE-GD-Rev-LAS', 57.7, 85.8),
        AblationRow('GE-GD-LAS-AGEs', 57.2, 85.7),
        AblationRow('GE-GD-Rev-LAS-AGEs', 59.1, 86.5),
    )
}


def ablation_row(name: str) -> AblationRow:
    """The row of that name.

    Raises:
        UserError: there is none.
    """
    if name not in ROWS:
        raise UserError(f'there is no row {name!r} in the ablation: expected one of {", ".join(ROWS)}')
    return ROWS[name]
