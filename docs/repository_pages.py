"""A hook of MkDocs: pages of the site that lie elsewhere in the repository, and links between all of them.

Links in the Markdown files are those of the repository, so that they work where its files are read as well.
"""

from __future__ import annotations

import posixpath
import re
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
    """Adds the pages from elsewhere."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    source = next(
        (name for name, there in ELSEWHERE.items() if there == page.file.src_uri), f'docs/{page.file.src_uri}'
    )

    def on_site(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[0]))
        return ELSEWHERE.get(target, target.removeprefix('docs/'))

    return _LINK.sub(on_site, markdown)
