"""Tests of the strips of skeletons."""

import builtins
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sge_la.data.check import main
from sge_la.data.draw import COLOURS, draw_strip, save_strip
from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError, run_command

pytest.importorskip('matplotlib')


def person(frames: int = 3, rise: float = 1.0) -> np.ndarray:
    """A walker of the first Kinect's joints: joint k at height k (the head, joint 3, above the centre), moving in x."""
    sequence = np.zeros((frames, 20, 3))
    sequence[..., 1] = rise * np.arange(20)
    sequence[..., 0] = 0.1 * np.arange(20)[::-1] + 5 * np.arange(frames)[:, None]
    sequence[..., 2] = 0.2 * np.arange(20)
    return sequence


def bones(axis) -> dict[str, list[np.ndarray]]:
    """The lines of an axis by colour name."""
    names = {colour: side for side, colour in COLOURS.items()}
    found = {side: [] for side in COLOURS}
    for line in axis.lines:
        found[names[line.get_color()]].append(line.get_xydata())
    return found


def test_front_and_side_of_every_frame_with_left_and_right_in_their_colours():
    skeleton = SKELETONS['kinect_v1']
    figure = draw_strip(person(), skeleton, 'title')
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ['frame 1', 'frame 2', 'frame 3']
    for axis in figure.axes:
        found = bones(axis)
        assert {side: len(lines) for side, lines in found.items()} == {'left': 8, 'right': 8, 'middle': 3}
    # From the front x is across: joints 0 to 19 at 1.9 to 0 metres, put in the middle: 0.95 to −0.95.
    # The bone from ElbowLeft (5) to ShoulderLeft (4): x = 0.45 and 0.55, y = 5 and 4.
    front, side = bones(figure.axes[0])['left'], bones(figure.axes[3])['left']
    assert any(np.allclose(line, [[0.45, 5], [0.55, 4]]) for line in front)
    # From the side z is across: 0 to 3.8 metres, in the middle −1.9 to 1.9: z = −0.9 and −1.1.
    assert any(np.allclose(line, [[-0.9, 5], [-1.1, 4]]) for line in side)


def test_the_head_is_up_even_where_y_points_down():
    skeleton = SKELETONS['kinect_v1']
    up, down = (draw_strip(person(rise=rise), skeleton).axes[0] for rise in (1, -1))
    for one, other in zip(bones(up)['left'], bones(down)['left'], strict=True):
        np.testing.assert_allclose(one, other)


def test_long_sequences_show_twelve_frames_from_first_to_last():
    figure = draw_strip(person(frames=70), SKELETONS['kinect_v1'])
    titles = [axis.get_title() for axis in figure.axes[:12]]
    assert len(figure.axes) == 24 and titles[0] == 'frame 1' and titles[-1] == 'frame 70'


def test_unknown_skeletons_are_dots():
    figure = draw_strip(person(), None)
    assert [len(axis.lines) for axis in figure.axes] == [1] * 6


@pytest.mark.parametrize('kind, start', [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')])
def test_files(tmp_path, kind, start):
    sequence = person()
    sequence[1, 3] = np.nan
    save_strip(tmp_path / f'a.{kind}', sequence, SKELETONS['kinect_v1'])
    assert (tmp_path / f'a.{kind}').read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_drawn_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r'\.png, \.svg or \.pdf'):
        save_strip(tmp_path / 'a.bmp', person(), None)
    with pytest.raises(UserError, match='without a finite coordinate'):
        save_strip(tmp_path / 'a.png', np.full((2, 20, 3), np.nan), None)
    with pytest.raises(UserError, match='does not exist'):
        save_strip(tmp_path / 'gone' / 'a.png', person(), None)
    assert list(tmp_path.iterdir()) == []


def test_missing_matplotlib_is_a_user_error(monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **further):
        if name.startswith('matplotlib'):
            raise ImportError(name)
        return imported(name, *args, **further)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(UserError, match='pip install matplotlib'):
        draw_strip(person(), None)


def test_the_check_command_draws(write_tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data_dir = str(write_tiny('DEMO'))
    assert main(['DEMO', '--data_dir', data_dir, '--figures']) == 0
    assert (tmp_path / 'DEMO_6_skeletons.png').exists()
    assert main(['DEMO', '--data_dir', data_dir, '--figures', 'x.svg', '--sequence', '19']) == 0
    assert 'training sequence 19' in (tmp_path / 'x.svg').read_text() or (tmp_path / 'x.svg').stat().st_size > 1000
    assert run_command(main, ['DEMO', '--data_dir', data_dir, '--figures', '--sequence', '20']) == 2
    assert 'a number from 0 to 19' in capsys.readouterr().err


def test_drawing_loads_no_windows(tmp_path):
    code = (
        'import sys, numpy\n'
        'from sge_la.data.draw import draw_strip\n'
        "assert 'matplotlib' not in sys.modules\n"
        'draw_strip(numpy.ones((2, 5, 3)), None)\n'
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == 'False\n'
