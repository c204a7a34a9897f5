"""What the papers and the original's code fix: for a data set, a protocol of CASIA-B, a row of the ablation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from sge_la.errors import UserError

TASKS = ('rev_rec', 'prediction', 'sorting')
PLUS = 'rev_rec_plus'
BATCH_SIZE = 128
DATASET = 'CASIA_B'
CVE, CME = 'CVE', 'CME'
ALL = 'all'
NUM_VIEWS = 11
DEGREES = 18  # from one view to the next
# `probe.gallery`, in the order of the paper's table. nm: normal, bg: with a bag, cl: in a coat.
PROBE_TYPES = ('nm.nm', 'bg.bg', 'cl.cl', 'cl.nm', 'bg.nm')
# Which of the three encoders of rev_rec_plus (rev_rec, prediction, sorting) are joined.
DOUBLE_PRETEXT = {'': (0, 1, 2), 'rev_rec+pred': (0, 1), 'rev_rec+sort': (0, 2), 'pred+sort': (1, 2)}
LENGTHS = {CVE: 20, CME: 50}
# The original trains the recognition network half as long on sequences shorter than this.
SHORT = 20
Options = TypeVar('Options')


# The folder of CASIA-B for condition-based matching; its files are named CASIA_B.
CONDITION_MATCHING = 'CASIA_B_match'


@dataclass(frozen=True)
class DatasetFacts:
    """What paper and original code fix for one data set.

    `identities`: C in the original's code; None for data sets that the paper does not have; `joints`: J; `temperature`:
    t that the original uses, whatever `--t` says (`ignores_t`) or when nothing is said; `epochs`, `rn_epochs`: of gait
    encoder and recognition network in the T-PAMI code (CAGE); `age_rn_epochs`: of the recognition network in the IJCAI
    code (AGE), whose encoders all train 400 epochs; `short_rn_epochs`: of the recognition network on sequences of fewer
    than 20 frames, where that differs; `rn_batch_size`, `rn_rate`: rows in a batch of the recognition network, and its
    learning rate.
    """

    identities: int | None = None
    joints: int | None = None
    temperature: float = 0.1
    epochs: int = 400
    rn_epochs: int = 300
    age_rn_epochs: int = 300
    short_rn_epochs: int | None = None
    rn_batch_size: int = BATCH_SIZE
    rn_rate: float = 5e-4
    ignores_t: bool = True


DATASETS = {
    'BIWI': DatasetFacts(28, 20),
    'IAS': DatasetFacts(11, 20),
    'KGBD': DatasetFacts(164, 20, temperature=0.5, epochs=150, rn_epochs=200, age_rn_epochs=150),
    'KS20': DatasetFacts(20, 25, rn_epochs=800, age_rn_epochs=800),
    'KinectReID': DatasetFacts(71, 20),
    # CVE trains all 124 people; CME the half whom it does not test (inferred from later papers on the same files).
    'CASIA_B': DatasetFacts(
        124,
        14,
        temperature=0.15,
        epochs=100,
        rn_epochs=1000,
        short_rn_epochs=500,
        rn_batch_size=1280,
        rn_rate=5e-3,
        ignores_t=False,
    ),
    CONDITION_MATCHING: DatasetFacts(62, 14, temperature=0.15, epochs=100, ignores_t=False),
    'DEMO': DatasetFacts(None, 20, epochs=12, rn_epochs=200, age_rn_epochs=200),
}
AGE_EPOCHS = 400


def is_dataset_name(text: str) -> bool:
    """Whether a data set may be called so: letters, digits, '-', '.' and '+', since names of run folders use '_'."""
    if text in (DATASET, CONDITION_MATCHING):
        return True
    letters = all(letter.isalnum() or letter in '-.+' for letter in text)
    return 0 < len(text) <= 64 and letters and text[0].isalnum()


def facts(dataset: str) -> DatasetFacts:
    """The settings of a data set; a name that the paper does not have gets the common ones."""
    return DATASETS.get(dataset, DatasetFacts())


def protocol_of(options) -> str | None:
    """'CVE' or 'CME' for resolved options of CASIA-B, None for any other data set."""
    return options.protocol if options.dataset == DATASET else None


def data_name(options) -> str:
    """The data set's name under `Datasets/`: CME has a folder of its own."""
    return CONDITION_MATCHING if protocol_of(options) == CME else options.dataset


def cases(options: Options) -> list[Options]:
    """The single runs that `--view all` or `--probe_type all` stands for; otherwise the one run that was asked for."""
    if options.view == ALL:
        return [replace(options, view=view) for view in range(NUM_VIEWS)]
    if options.probe_type == ALL:
        return [replace(options, probe_type=probe_type) for probe_type in PROBE_TYPES]
    return [options]


def is_table(options) -> bool:
    """Whether a whole table was asked for."""
    return ALL in (options.view, options.probe_type)


def conditions(probe_type: str) -> tuple[str, str]:
    """The conditions of probe and gallery, e.g. ('cl', 'nm')."""
    probe, gallery = probe_type.split('.')
    return probe, gallery


@dataclass(frozen=True)
class AblationRow:
    """One row: GE gait encoder, GD decoder, Rev reversed targets, BAS/MBAS/LAS attention, AGEs as features.

    `name`: the parts that it has, joined by '-'; `rank1`, `nauc`: the paper's, on BIWI.
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
        """'context' for AGEs, 'states' of the encoder without them, as `sge_la.features.cages` calls them."""
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

    Raises UserError: there is none.
    """
    if name not in ROWS:
        raise UserError(f'there is no row {name!r} in the ablation: expected one of {", ".join(ROWS)}')
    return ROWS[name]
