"""What mkdocs is helped with: pages that stand at the repository's root, and links out of docs/.

A link from a page to a file of the repository that is no page (`../examples/gunicorn.conf.py`)
leads to that file in the repository; one to a file that is not there is an error, as any broken
link is.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {
    "ARCHITECTURE.md": "internals/architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
"""Files of the repository's root, and the pages that they are; README has a page in its place."""
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")
_ELSEWHERE = re.compile(r"[a-z]+:")


def on_files(files, config):
    """Add the pages that stand at the repository's root."""
    for name, page in PAGES.items():
        if name != "README.md":
            content = (ROOT / name).read_text()
            files.append(File.generated(config, page, content=_as_if_there(content, page)))
    return files


def _as_if_there(text, page):
    """Return the text of a file of the root, with its links as they are from its page."""
    up = "../" * (page.count("/") + 1)
    return _LINK.sub(
        lambda link: link[0] if _ELSEWHERE.match(link[2]) else _to(link, up + link[2]), text
    )


def on_page_markdown(markdown, page, config, files):
    """Let links that leave docs/ lead to the page of that file, or to the repository."""
    return _LINK.sub(lambda link: _resolved(link, page.file.src_uri, config.repo_url), markdown)


def _resolved(link, source, repository):
    if _ELSEWHERE.match(link[2]):
        return link[0]
    folder = posixpath.dirname(source)
    target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
    if target.startswith("docs/"):
        return _to(link, posixpath.relpath(target, posixpath.join("docs", folder)))
    if target in PAGES:
        return _to(link, posixpath.relpath(PAGES[target], folder or "."))
    if not (ROOT / target).exists():
        raise PluginError(f"{source}: a link to {link[2]}, which is not there")
    kind = "tree" if (ROOT / target).is_dir() else "blob"
    return _to(link, f"{repository.rstrip('/')}/{kind}/main/{target}")


def _to(link, target):
    """Return a link with another target, with its anchor."""
    return f"{link[1]}{target}{link[3] or ''})"
