"""What the tests of sweeps share: a short command, and what it wrote."""

from __future__ import annotations

from pathlib import Path

SIZES = ['--epochs', '1', '--rn_epochs', '1', '--batch_size', '12', '--rn_batch_size', '128', '--gpu', '-1']
NETWORK = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_seed-{}'


def flags(folder: Path) -> list[str]:
    places = ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(folder / 'Models')]
    return ['--dataset', 'KGBD', *SIZES, *places]


def files_of(models: Path) -> dict[str, bytes]:
    """The checkpoints below a folder."""
    return {str(path.relative_to(models)): path.read_bytes() for path in sorted(models.rglob('*.ckpt*'))}


def asked(folder: Path) -> dict[str, list]:
    """What `flags` type, as the grid of a sweep."""
    words = flags(folder)
    return {
        flag[2:]: [int(value) if value.isdecimal() else value]
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }
