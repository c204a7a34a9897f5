"""What both commands print first and last."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sge_la.data import Dataset
from sge_la.errors import typed
from sge_la.settings.options import CommonOptions
from sge_la.settings.papers import ALL, CVE, DATASET, DEGREES, PLUS, PROBE_TYPES, conditions
from sge_la.settings.recipe import MODERN


def heading(options) -> dict[str, object]:
    """What the original prints first, then what it does not say."""
    temperature = 'Tempearture' if options.faithful else 'Temperature'
    lines = {
        'Dataset': options.dataset,
        'Attention': 'LA, BA, BA' if options.model == PLUS and not options.faithful else options.attention,
        'Re-ID Manner': options.manner,
        'Sequence Length': options.length,
        temperature: options.t,
        'Pretext Task': options.model,
        **_of_protocol(options),
    }
    if options.recipe == MODERN:
        left_out = f' without {options.without.replace("+", ", ")}' if options.without else ''
        lines['Recipe'] = options.recipe + left_out + (' with --supervised' if options.supervised else '')
    if options.unknown is not None:
        lines['Unknown'] = f'trained without {100 * options.unknown:g} % of the people'
    lines |= {'GPU': options.gpu, 'Encoding': options.encoding}
    return lines | ({'Ablation': options.ablation} if options.ablation else {})


def banner(lines: Mapping[str, object], environment: Mapping[str, object]) -> str:
    """The heading of a run, and where it runs."""
    backend = environment['backend']
    machine = (
        f'{environment["device"]}, {environment["threads"]} threads, {environment["matrix_products"]} matrix products'
    )
    keras = f', Keras {environment["keras"]}' if 'keras' in environment else ''
    lines = {**lines, 'Backend': f'{backend} {environment[backend]}{keras}', 'Device': machine}
    return '\n'.join(f' ## {name}: {value}' for name, value in lines.items()) + '\n'


# Which epoch a run keeps, by --select.
CHOSEN = {'test': 'best on the test set', 'last': 'the last', 'val': 'best on held-out training sequences'}


def selection_line(select: str) -> str:
    """How the epoch was chosen, in words that belong beside every score."""
    without = ', as in the original (--select last or val choose without it)' if select == 'test' else ''
    return f'Epoch chosen: {CHOSEN[select]}{without}'


def where_it_lies(folder: Path, options: Mapping[str, object]) -> str:
    """The last lines of a run: its folder, and the command that shows more of it."""
    lines = [f'Run: {folder}']
    if not options.get('report'):
        places = ('data_dir', 'models_dir')
        places = {name: options[name] for name in places if options[name] != getattr(CommonOptions, name)}
        among_models = folder.resolve().parent.parent == Path(options['models_dir']).resolve()
        named = folder.name if among_models else folder
        more = {'report' if find_spec('matplotlib') else 'verbose': True}
        lines.append(f'Next: {typed("evaluate", RN_dir=named, **places, **more)}')
    return '\n'.join(lines)


def data_lines(dataset: Dataset) -> list[str]:
    """What the original's CASIA-B scripts say of arrays and people when they encode them (for each axis; here once)."""
    test = next(iter(dataset.tests.values()))
    shapes = [split.skeletons.shape[:3] for split in (dataset.train, test)]
    people = list(dataset.identities), list(test.ids)
    keys = [f'dict_keys({labels})' for labels in people]
    return ['### Normalized Data', f'{shapes[0]} {shapes[1]}', *keys, str(people[0])]


def _of_protocol(options) -> dict[str, object]:
    """What the original's banner says of a protocol, between pretext task and GPU."""
    if options.dataset != DATASET:
        return {}
    if options.protocol == CVE:
        if options.view == ALL:
            return {'CVE Testing View': 'all'}
        degree = 'Dgree' if options.faithful else 'Degree'
        return {'CVE Testing View': f'View {options.view}, {degree} {DEGREES * options.view}'}
    if options.probe_type == ALL:
        return {'Probe and gallery sets': ', '.join(PROBE_TYPES)}
    probe, gallery = conditions(options.probe_type)
    return {'Probe set': probe, 'Gallery set': gallery}
