"""Words to the sentences that a text encoder reads: prompt templates, and written descriptions.

Rules and file formats are those of the public code of recognize-anything
(`ram/utils/openset_utils.py`, `generate_tag_des_llm.py`).
"""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ram_model.errors import LabelError, TextFileError
from ram_model.text_files import read_lines, read_text

REFERENCE_TEMPLATES_SHA256 = "93950afe1b680521d3ec1161d6576ce5288b26acb2263338329674abfb4160a1"
"""Of the reference's 63 templates joined by newlines."""

Descriptions = Mapping[str, tuple[str, ...]]
"""Sentences about each tag, by the tag's name."""


def write_prompts(word: str, templates: Sequence[str]) -> list[str]:
    """Return one sentence per template about `word`.

    Args:
        templates: with `{}` where the word goes, and `{article}` where "a" or "an" goes.
    """
    name = word.replace("_", " ").replace("/", " or ").lower().rstrip(".")
    # the reference looks at the name as given: "Ale" gets "a"
    article = "an" if word[:1] in tuple("aeiou") else "a"
    filled = (_fill(template, name, article) for template in templates)
    # a test on letters, as the reference makes it: "an old ..." and "apples" count as well
    return [f"This is {text}" if text.startswith(("a", "the")) else text for text in filled]


def _fill(template: str, name: str, article: str) -> str:
    # not str.format: a file of templates must not reach into Python objects
    return template.replace("{article}", article).replace("{}", name)


def read_templates(path: str | Path) -> tuple[str, ...]:
    """Return the templates of a UTF-8 file, one a line.

    Raises:
        LabelError: it cannot be read, or a line has no place for the word.
    """
    try:
        lines = read_lines(path)
    except (OSError, TextFileError) as error:
        raise LabelError(f"The templates {path} cannot be read: {error}.") from error
    templates = tuple(line for line in lines if line.strip())
    for template in templates:
        if "{}" not in template:
            raise LabelError(f"{path}: the template {template!r} has no {{}} for the word.")
    if not templates:
        raise LabelError(f"{path} holds no template.")
    return templates


def open_clip_templates() -> tuple[str, ...]:
    """Return the 80 templates that ship with open_clip, for models that came without their own."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def extract_templates(code: str) -> tuple[str, ...]:
    """Return the reference's 63 templates from the Python file they are published in, unrun.

    Raises:
        LabelError: no list in it has the templates' checksum.
    """
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError as error:
        raise LabelError(f"The published templates are not in Python: {error}.") from error
    for node in nodes:
        if isinstance(node, ast.List):
            texts = [e.value for e in node.elts if isinstance(e, ast.Constant)]
            templates = tuple(text for text in texts if isinstance(text, str))
            if templates_sha256(templates) == REFERENCE_TEMPLATES_SHA256:
                return templates
    raise LabelError("The published file does not hold the 63 templates of the reference.")


def describe_templates(templates: Sequence[str], origin: str) -> str:
    """Say in a few words which templates these are."""
    if templates_sha256(templates) == REFERENCE_TEMPLATES_SHA256:
        return f"the reference's {len(templates)} templates"
    return f"{len(templates)} templates of {origin}"


def templates_sha256(templates: Sequence[str]) -> str:
    """Return the hash of a template list, comparable with `REFERENCE_TEMPLATES_SHA256`."""
    return hashlib.sha256("\n".join(templates).encode("utf-8")).hexdigest()


def read_descriptions(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Return the descriptions in a JSON file of the published format.

    The format is a list of objects with one key each, [{tag: [sentence, ...]}, ...]; the numbers
    of sentences may differ.

    Raises:
        LabelError: it cannot be read, is of another form, or describes a tag twice.
    """
    try:
        entries = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise LabelError(f"The descriptions {path} cannot be read: {error}.") from error
    if not isinstance(entries, list):
        raise LabelError(f"{path} must hold a list of {{tag: [sentences]}} objects.")
    descriptions: dict[str, tuple[str, ...]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or len(entry) != 1:
            raise LabelError(f"{path}: entry {position} is not an object with one tag.")
        ((tag, sentences),) = entry.items()
        if not isinstance(sentences, list) or not sentences:
            raise LabelError(f"{path}: {tag!r} has no list of sentences.")
        if not all(isinstance(text, str) and text.strip() for text in sentences):
            raise LabelError(f"{path}: {tag!r} has an entry that is not a sentence.")
        if tag in descriptions:
            raise LabelError(f"{path} describes {tag!r} twice.")
        descriptions[tag] = tuple(sentences)
    return descriptions
