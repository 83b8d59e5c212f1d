"""Published files, from where they are published or from a mirror, each checked and recorded.

What is downloaded lies in FOLDER/download until the model folder is complete, so that an
interrupted fetch goes on where it stopped. A mirror is a URL or a folder that has the published
files by name.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ram_model.errors import LabelError
from ram_model.networks.tag2text import tag2text_vocabulary
from ram_model.vocabulary import Vocabulary
from ram_model.weight_files import file_sha256
from ram_model.words.prompts import extract_templates
from ram_ray.errors import UnreachableError
from ram_ray.models.download import Downloaded, download
from ram_ray.models.published import PublishedFile, PublishedModel

OnBytes = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there are, and how many there will be (None: unknown)."""
Say = Callable[[str], None]
"""Called with one sentence about what is being done."""


class PublishedFiles:
    """The files for one model folder, and where each of them came from."""

    def __init__(
        self,
        folder: Path,
        *,
        mirror: str | None = None,
        on_bytes: OnBytes = lambda name, done, total: None,
        say: Say = lambda sentence: None,
    ) -> None:
        """Go on with what an earlier call left in the folder.

        Args:
            folder: the model folder to be.
            mirror: URL or folder; None: where the files are published.
        """
        self._mirror = mirror
        self._on_bytes = on_bytes
        self._say = say
        self._folder = self.place(folder)
        self._note = self._folder / "sources.json"
        self._known: dict[str, dict[str, Any]] = {}
        if self._note.is_file():
            self._known = dict(json.loads(self._note.read_text(encoding="utf-8")))
        self.sources: dict[str, dict[str, Any]] = {}
        """Of the files obtained: from, sha256, size_bytes, pinned (the hash was known before)."""

    @staticmethod
    def place(folder: Path) -> Path:
        """Return where downloads for a model folder lie."""
        return folder / "download"

    def vocabulary(self, model: PublishedModel) -> Vocabulary:
        """Return the published tags of a model."""
        names = self.obtain(model.tags)
        if model.thresholds is None:
            return tag2text_vocabulary(names)
        tags_zh = self.obtain_if(model.tags_zh)
        return Vocabulary.from_text(names, self.obtain(model.thresholds), tags_zh)

    def templates(self, model: PublishedModel) -> Path | None:
        """Return a text file with the reference's prompt templates, one a line, if it has any."""
        if model.templates is None:
            return None
        code = self.obtain(model.templates)
        try:
            templates = extract_templates(code.read_text(encoding="utf-8"))
        except (LabelError, UnicodeDecodeError) as error:
            raise UnreachableError(f"{self.sources[code.name]['from']}: {error}") from error
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "templates.txt"
        path.write_text("\n".join(templates), encoding="utf-8")
        return path

    def obtain_if(self, file: PublishedFile | None) -> Path | None:
        """Return the path of a file that only some models have."""
        return None if file is None else self.obtain(file)

    def obtain(
        self, file: PublishedFile, *, spare_bytes: int = 0, sha256: str | None = None
    ) -> Path:
        """Return the path of a file: downloaded now or before, or in a mirror on this machine.

        Args:
            spare_bytes: disk space that must be left beside it.
            sha256: what it must have; None: what is known about it.

        Raises:
            UnreachableError: it cannot be had, or is another file.
            IncompleteRunError: a connection broke or the disk is full; call again.
        """
        expected = (sha256 or file.sha256 or "").lower() or None
        if self._mirror is not None and "://" not in self._mirror:
            return self._in_folder(Path(self._mirror), file, expected)
        path = self._folder / file.name
        known = self._known.get(file.name)
        if known is None or not path.is_file() or expected not in (None, known["sha256"]):
            known = self._remember(file.name, self._download(file, path, expected, spare_bytes))
        self.sources[file.name] = known
        return path

    def _download(
        self, file: PublishedFile, path: Path, sha256: str | None, spare_bytes: int
    ) -> Downloaded:
        urls = file.urls if self._mirror is None else (f"{self._mirror.rstrip('/')}/{file.name}",)
        for position, url in enumerate(urls, start=1):
            try:
                return download(
                    url,
                    path,
                    sha256=sha256,
                    spare_bytes=spare_bytes,
                    on_bytes=lambda done, total: self._on_bytes(file.name, done, total),
                )
            except UnreachableError as error:
                if position == len(urls):
                    if self._mirror is not None:
                        raise
                    raise UnreachableError(
                        f"{error} Without internet: --mirror URL|FOLDER with the published files."
                    ) from error
                self._say(f"{error} Trying the next place.")
        raise AssertionError("a published file has at least one place")

    def _remember(self, name: str, got: Downloaded) -> dict[str, Any]:
        """Note that a file is whole, for a later call."""
        facts = asdict(got)
        known = {"from": facts.pop("url"), **facts}
        self._known[name] = known
        part = self._note.with_suffix(".part")
        part.write_text(json.dumps(self._known, indent=2) + "\n", encoding="utf-8")
        part.replace(self._note)
        return known

    def _in_folder(self, folder: Path, file: PublishedFile, expected: str | None) -> Path:
        path = folder / file.name
        if not path.is_file():
            raise UnreachableError(f"The mirror {folder} has no file {file.name}.")
        found = file_sha256(path)
        if expected not in (None, found):
            raise UnreachableError(
                f"{path} is not the file it should be: its sha256 is {found}, but must be "
                f"{expected}."
            )
        self.sources[file.name] = {
            "from": str(path),
            "sha256": found,
            "size_bytes": path.stat().st_size,
            "pinned": expected is not None,
        }
        return path
