"""A hook of MkDocs: pages that lie elsewhere in the repository or are notebooks, and links between all of them.

Links in the Markdown files are those of the repository, so that they work where its files are read as well.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# In the repository → on the site, where everything lies in one folder.
ELSEWHERE = {
    'README.md': 'index.md',
    'Datasets/README.md': 'datasets.md',
    'Models/README.md': 'models.md',
    'benchmarks/README.md': 'benchmarks.md',
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'SECURITY.md': 'security.md',
    'CITATION.cff': 'CITATION.cff',
    'LICENSE': 'LICENSE',
}
_LINK = re.compile(r'(?<=\]\()(?![a-z]+:)([^)#\s]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from elsewhere, and a page with its pictures for each notebook."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for path in sorted((ROOT / 'docs').glob('*.ipynb')):
        pictures: dict[str, bytes] = {}
        text = '\n\n'.join(_parts(json.loads(path.read_text(encoding='utf-8')), path.stem, pictures))
        files.append(File.generated(config, _page_of(path.name), content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, name, content=content))
    return files


def _page_of(notebook: str) -> str:
    return f'{notebook.removesuffix(".ipynb")}.md'


def _parts(notebook: dict, name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """The cells of a notebook and what they show as Markdown; pictures are put beside it."""
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        yield source if cell['cell_type'] == 'markdown' else f'```python\n{source}\n```'
        printed = ''
        for output in cell.get('outputs', []):
            data = output.get('data', {})
            if 'image/png' in data:
                picture = f'{name}-{len(pictures) + 1}.png'
                pictures[picture] = base64.b64decode(''.join(data['image/png']))
                yield f'![what the cell draws]({picture})'
            else:
                printed += ''.join(output.get('text', data.get('text/plain', ''))).rstrip('\n') + '\n'
        if printed:
            yield f'```text\n{printed}```'
    yield f'The notebook itself, to be run: [{name}.ipynb]({name}.ipynb).'


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    source = next(
        (name for name, there in ELSEWHERE.items() if there == page.file.src_uri), f'docs/{page.file.src_uri}'
    )

    def on_site(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[0]))
        target = ELSEWHERE.get(target, target.removeprefix('docs/'))
        if target.endswith('.ipynb') and page.file.src_uri != _page_of(target):
            return _page_of(target)
        return target

    return _LINK.sub(on_site, markdown)
