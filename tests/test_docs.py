"""The documentation as a whole: its form, the pages that are made, the picture of the method, and the site."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tests.test_readme import FENCE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
NOTEBOOKS = sorted(DOCS.glob('*.ipynb'))
MOST_LINES, MOST_LETTERS = 150, 120


@pytest.mark.parametrize('path', [ROOT / 'README.md', *sorted(DOCS.glob('*.md'))], ids=lambda path: path.name)
def test_lines_are_short(path):
    lines = path.read_text(encoding='utf-8').splitlines()
    assert path.name != 'README.md' or len(lines) <= MOST_LINES
    prose = path.read_text(encoding='utf-8') if path.name == 'README.md' else FENCE.sub('', path.read_text('utf-8'))
    assert [line for line in prose.splitlines() if len(line) > MOST_LETTERS and not line.startswith('|')] == []


def test_the_page_of_commands_is_current():
    made = runpy.run_path(str(DOCS / 'write_commands.py'))
    assert made['PAGE'].read_text(encoding='utf-8') == made['page'](), 'run: python docs/write_commands.py'
    assert {command for group in made['GROUPS'].values() for command in group} == set(made['COMMANDS'])


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_with_what_they_show(path):
    notebook = json.loads(path.read_text(encoding='utf-8'))
    cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    kinds = {kind for cell in cells for one in cell['outputs'] for kind in one.get('data', [one['output_type']])}
    assert {'stream', 'image/png'} <= kinds <= {'stream', 'image/png', 'text/plain'}  # no errors, no HTML
    assert [cell['execution_count'] for cell in cells] == list(range(1, len(cells) + 1))  # of one run
    assert path.stat().st_size < 100_000


@pytest.mark.slow
def test_notebooks_run(tmp_path):
    """In kernels of their own, to the end, with the same kinds of outputs as are kept."""
    command = [sys.executable, str(DOCS / 'run_notebooks.py'), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in NOTEBOOKS:
        now, kept = (json.loads((folder / path.name).read_text('utf-8')) for folder in (tmp_path, DOCS))
        for cell, before in zip(now['cells'], kept['cells'], strict=True):
            assert cell['source'] == before['source']
            assert {one['output_type'] for one in cell.get('outputs', [])} == {
                one['output_type'] for one in before.get('outputs', [])
            }


def test_the_picture_of_the_method_is_whole_and_needs_no_font():
    """No word leaves the picture or lies on another one."""
    figure = runpy.run_path(str(DOCS / 'draw_method.py'))['draw']()
    renderer, canvas = FigureCanvasAgg(figure).get_renderer(), figure.bbox
    words = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    assert [word for word, box in words if not (canvas.contains(*box.min) and canvas.contains(*box.max))] == []
    assert [(a, b) for (a, one), (b, other) in combinations(words, 2) if one.overlaps(other)] == []
    drawn = (DOCS / 'method.svg').read_text(encoding='utf-8')
    assert '<path' in drawn
    assert not re.search(r'<(text|image|script|style)\b.*(font-family|https?:)|<text\b', drawn)


class _Loads(HTMLParser):
    """What a page loads by itself, and what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values[name] for name in ('id', 'name') if values.get(name)}
        if values.get('src'):
            self.loaded.append(values['src'])
        if values.get('href'):
            (self.links if tag == 'a' else self.loaded).append(values['href'])


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '--site-dir', str(place)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr + found.stdout
    return place


def test_the_site_loads_nothing_from_the_net(site):
    pages = {path: _Loads(path.read_text(encoding='utf-8')) for path in site.glob('*.html')}
    assert len(pages) > len(list(DOCS.glob('*.md')))
    for path, page in pages.items():
        assert [target for target in page.loaded if re.match('[a-z]+:|//', target) and target[:5] != 'data:'] == [], (
            path
        )
        assert all(
            (site / target.split('?')[0].lstrip('/')).exists() for target in page.loaded if target[:5] != 'data:'
        )
    styles = [path.read_text(encoding='utf-8') for path in site.rglob('*.css')]
    assert styles
    assert not any(re.search(r'url\(["\']?(https?:)?//|@import', text) for text in styles)


def test_pages_of_the_site_that_are_linked_are_there(site):
    pages = {path.name: _Loads(path.read_text(encoding='utf-8')) for path in site.glob('*.html')}
    for name, page in pages.items():
        for target in page.links:
            place, _, anchor = target.partition('#')
            if name == '404.html' or re.match('[a-z]+:', target):
                continue
            assert not place or (site / place).is_file(), f'{name}: {target}'
            assert not anchor or anchor in pages[place or name].anchors, f'{name}: {target}'
