"""Small sources of a build, written to a folder."""

import json
from pathlib import Path

CAPTIONS = [
    "A brown dog runs on the beach",
    "Two dogs are running on a sandy beach",
    "A man on a couch with his dog",
    "A woman sits on a red couch",
    "A sofa and a dog",
    "A dog jumps over a fire truck",
    "A grey firetruck on a beach",
]


def write_captions(folder: Path, captions: list[str] = CAPTIONS) -> str:
    """Write the captions as JSONL, each one three times, and return the file."""
    path = folder / "captions.jsonl"
    lines = [json.dumps({"caption": text}) for text in captions for _ in range(3)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def write_list(folder: Path, name: str, *lines: str) -> str:
    """Write a plain list and return the file."""
    path = folder / f"{name}.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
