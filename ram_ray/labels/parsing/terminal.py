"""What `ram-ray labels parse` and `show` print."""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.console.terminal import printable
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.labels.parsing.pipeline import (
    FREQUENCIES_KEY,
    PAIRS_KEY,
    SUMMARY_KEY,
    OnShards,
    ParseSummary,
)
from ram_ray.labels.parsing.shard import VOCABULARY_KEY
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store, open_store

SHOWN_TAGS = 15
SHOWN_PROBLEMS = 5
PROGRESS_S = 5.0
"""Between two lines of progress."""


def shard_progress() -> OnShards:
    """Return a reporter that writes one line to stderr every few seconds."""
    spoke_at = time.monotonic()
    said: int | None = None

    def report(done: int, total: int) -> None:
        nonlocal spoke_at, said
        waited = time.monotonic() - spoke_at >= PROGRESS_S
        if done != said and (waited or done == total):
            spoke_at, said = time.monotonic(), done
            print(f"{done:,} of {total:,} shards parsed", file=sys.stderr)

    return report


def print_parse(summary: ParseSummary, config: StoreConfig) -> None:
    """Print a finished run, its first problems and its most frequent tags."""
    _print_summary(summary.num_images, summary.num_problems, summary.num_tags, summary.output)
    speed = f"{summary.captions_this_call:,} captions in {summary.wall_s:,.1f} s"
    print(speed + (" (resumed)" if summary.resumed else ""))
    for why, count in summary.passed_over.items():
        place = printable(summary.passed_examples.get(why, ""))
        print(f"Passed over: {count:,} {why} ({place})")
    store = open_store(summary.output, config)
    _print_problems(store)
    _print_frequencies(_read(store, FREQUENCIES_KEY))


def print_target(target: str, config: StoreConfig) -> None:
    """Print what a parse found, or what a vocabulary holds."""
    store = _parse_output(target, config)
    if store is None:
        vocabulary = read_vocabulary(target)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(vocabulary.kinds).items())
        aliases = sum(map(len, vocabulary.aliases))
        print(f"{target}: {len(vocabulary):,} tags ({kinds}), {aliases:,} aliases")
        return
    summary: dict[str, Any] = json.loads(store.read(SUMMARY_KEY))
    counts = (summary["num_images"], summary["num_problems"], summary["num_tags"])
    _print_summary(*counts, summary["output"])
    _print_problems(store)
    _print_frequencies(_read(store, FREQUENCIES_KEY))


def print_captions(
    target: str,
    captions: Sequence[str],
    *,
    widen: bool,
    spacy: str | None = None,
    store: StoreConfig,
) -> None:
    """Print the tags of captions with the reason of each."""
    parser = CaptionParser(_vocabulary(target, store), widen=widen, spacy=spacy)
    console = Console()
    rows = parser.parse_with_evidence(captions).to_pylist()
    for caption, row in zip(captions, rows, strict=True):
        console.print(Text(printable(caption), style="bold"))
        table = _grid()
        columns = ("tags", "kinds", "rules", "surfaces", "starts", "ends")
        for tag, kind, rule, surface, start, end in zip(*(row[c] for c in columns), strict=True):
            words = f"{printable(surface)} [{start}:{end}]"
            table.add_row(Text(f"  {tag}"), kind, rule, Text(words))
        for name in row["absent"]:
            table.add_row(Text(f"  {name}", style="dim"), "", "absent", "")
        console.print(table if table.row_count else "  no tag")


def print_tag(target: str, name: str, config: StoreConfig) -> None:
    """Print one tag: kind, aliases and parents, and in a parse's output how often and beside what.

    Raises:
        ConfigError: there is no such tag.
    """
    vocabulary = _vocabulary(target, config)
    found = vocabulary.find(name)
    if not found:
        raise ConfigError(f"tag is {name!r}, which is no name or alias in {target}.")
    store = _parse_output(target, config)
    for tag_id in found:
        aliases = ", ".join(vocabulary.aliases[tag_id]) or "none"
        parents = ", ".join(vocabulary.names[up] for up in vocabulary.parents[tag_id]) or "none"
        print(f"#{tag_id} {vocabulary.names[tag_id]} ({vocabulary.kinds[tag_id]})")
        print(f"  aliases: {aliases}\n  parents: {parents}")
        if store is not None:
            _print_neighbours(store, tag_id)


def _print_neighbours(store: Store, tag_id: int) -> None:
    frequencies = _read(store, FREQUENCIES_KEY)
    for row in frequencies.filter(pc.field("tag_id") == tag_id).to_pylist():
        print(f"  as {row['kind']}: {row['images']:,} images, {row['captions']:,} captions")
    pairs = _read(store, PAIRS_KEY)
    either = (pc.field("tag_id_a") == tag_id) | (pc.field("tag_id_b") == tag_id)
    rows = pairs.filter(either).slice(0, SHOWN_TAGS).to_pylist()
    beside = [
        f"{row['tag_b'] if row['tag_id_a'] == tag_id else row['tag_a']} {row['images']:,}"
        for row in rows
    ]
    print(f"  beside: {', '.join(beside) or 'nothing'}")


def _print_summary(num_images: int, num_problems: int, num_tags: int, output: str) -> None:
    print(f"{num_images:,} images, {num_tags:,} tags, {num_problems:,} problems: {output}")


def _print_problems(store: Store) -> None:
    shown = 0
    for key in sorted(store.list("quarantine")):
        for row in _read(store, key).slice(0, SHOWN_PROBLEMS + 1).to_pylist():
            if shown == SHOWN_PROBLEMS:
                print("  ... more in quarantine/")
                return
            print(printable(f"  {row['source']}:{row['line']}: {row['message']}"))
            shown += 1


def _print_frequencies(frequencies: pa.Table) -> None:
    table = _grid()
    for row in frequencies.slice(0, SHOWN_TAGS).to_pylist():
        table.add_row(Text(f"  {row['tag']}"), row["kind"], f"{row['images']:,} images")
    Console().print(table)


def _vocabulary(target: str, config: StoreConfig) -> Vocabulary:
    store = _parse_output(target, config)
    if store is None:
        return read_vocabulary(target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY_KEY
        path.write_bytes(store.read(VOCABULARY_KEY))
        return read_vocabulary(path)


def _parse_output(target: str, config: StoreConfig) -> Store | None:
    """Return the store of a parse's output; None where the target is a file.

    Raises:
        UnreachableError: the target is a folder without a finished parse.
    """
    if "://" not in target and not Path(target).is_dir():
        return None
    store = open_store(target, config)
    if not store.exists(SUMMARY_KEY):
        raise UnreachableError(f"{target} holds no finished parse: there is no {SUMMARY_KEY}.")
    return store


def _read(store: Store, key: str) -> pa.Table:
    return read_parquet(store, key)


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column()
    return table
