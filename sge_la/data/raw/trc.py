"""TRC files of motion capture: five lines of header, and a line a frame, separated by tabs.

`PathFileType 4 (X/Y/Z) NAME`; the names of eight values and the values, with `DataRate` and `Units` (mm, cm or m);
`Frame# Time` and the names of the markers, each for three columns; X1 Y1 Z1 X2 ...; then the frames. A marker that was
not seen has empty cells.
"""

from __future__ import annotations

import math
from dataclasses import replace

from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.table import find_columns, read_lines
from sge_la.data.raw.text import shown
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError

START = 'PathFileType'
_UNITS = {'mm': 1e-3, 'cm': 1e-2, 'm': 1.0, 'meters': 1.0}


def parse(text: str, raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Reads the markers that are called as the skeleton's joints, in metres.

    `text`: the lines, separated by newlines; `raw`: the file, which errors name; `skeleton`: the joints that are
    wanted. Raises UserError: the header or a line is of another form, or a joint has no marker.
    """
    where = str(raw.path)
    lines = [(number, line) for number, line in enumerate(text.split('\n'), 1) if line.strip()]
    if len(lines) < 6 or not lines[0][1].startswith(START):
        raise UserError(
            f'{where} should be a TRC file with five lines of header and frames behind them; check the file'
        )
    names, values = (line.split('\t') for _, line in lines[1:3])
    header = dict(zip(map(str.strip, names), map(str.strip, values), strict=False))
    unit, rate = _UNITS.get(header.get('Units', '').casefold()), _positive(header.get('DataRate', ''))
    if unit is None or rate is None:
        raise UserError(
            f'{where}, line {lines[2][0]}: a DataRate and Units mm, cm or m were expected, found '
            f'{shown(header.get("DataRate", ""))} and {shown(header.get("Units", ""))}; correct the header'
        )
    number, line = lines[3]
    markers = [name.strip() for name in line.split('\t')[2:] if name.strip()]
    columns = ['Frame#', 'Time', *(f'{marker}_{axis}' for marker in markers for axis in 'xyz')]
    found = find_columns(columns, f'{where}, line {number}', skeleton)
    rows = [(number, _whole(line, len(columns))) for number, line in lines[5:]]
    recording = read_lines(rows, found, '\t', raw, unit)
    notes = recording.notes
    if header.get('NumFrames') != str(len(rows)):
        notes += (f'{raw.name} has {len(rows)} frames, and its header says {shown(header.get("NumFrames", ""))}',)
    return replace(recording, rate=rate, notes=notes)


def _whole(line: str, width: int) -> str:
    """A line with all of its columns: some programs add tabs, and write nothing where no marker was seen."""
    fields = line.split('\t')
    while len(fields) > width and not fields[-1].strip():
        fields.pop()
    if not any(map(str.strip, fields[2:])):
        fields = fields[:2] + [''] * (width - 2)
    return '\t'.join(fields)


def _positive(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value < 1e4 else None
