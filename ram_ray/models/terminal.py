"""What `ram-ray model` prints: the known models, and what one of them is."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ram_model.config import ConvConfig, EncoderConfig, TagDecoderConfig
from ram_model.files.checkpoint import CHECKSUMS, CONFIG
from ram_model.files.costs import total
from ram_model.files.inspection import ModelFacts, inspect_folder
from ram_model.files.pretrained import BUNDLED, PACKAGED, PUBLISHED, find_model_folder, models_home
from ram_model.vocabulary import OFF
from ram_ray.console.json_output import print_json
from ram_ray.console.terminal import printable
from ram_ray.models.convert import user_errors

_ABOUT = {
    "ram-mini": "everyday words, small, for trying things out",
    "ram": "RAM, Swin-L: 4,585 tags, any words on top",
    "ram-plus": "RAM++, Swin-L: 4,585 tags, best with new words",
    "tag2text": "Tag2Text, Swin-B: 3,429 tags, and captions",
}


def known_models() -> list[dict[str, str | None]]:
    """Return name, state (bundled, fetched, incomplete, not fetched), folder and what it is."""
    models = [_state(name, PACKAGED / name, "bundled") for name in BUNDLED]
    return models + [_state(name, models_home() / name, "fetched") for name in PUBLISHED]


def _state(name: str, folder: Path, ready: str) -> dict[str, str | None]:
    if (folder / CONFIG).is_file() and (folder / CHECKSUMS).is_file():
        state = ready
    else:
        state = "incomplete" if folder.is_dir() else "not fetched"
    where = str(folder) if folder.is_dir() else None
    return {"name": name, "state": state, "folder": where, "about": _ABOUT[name]}


def print_models(models: list[dict[str, str | None]]) -> None:
    """Print one line per model."""
    table = Table.grid(padding=(0, 2))
    for model in models:
        about, folder = str(model["about"]), model["folder"]
        table.add_row(
            Text(str(model["name"]), style="bold"),
            str(model["state"]),
            Text(about if folder is None else f"{about}\n{printable(folder)}"),
        )
    Console().print(table)


def inspect(model: str) -> ModelFacts:
    """Return the facts of a named model or a model folder.

    Raises:
        ConfigError: there is no such model, or it cannot be read.
    """
    folder = Path(model)
    with user_errors(folder):
        folder = find_model_folder(model)
        return inspect_folder(folder, model)


def say(sentence: str) -> None:
    """Print a sentence about what is being done, out of the way of the result."""
    print(sentence, file=sys.stderr, flush=True)


def show(facts: ModelFacts, *, as_json: bool) -> None:
    """Print what a model is."""
    if as_json:
        print_json(facts.to_json())
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, Text(printable(value)))
    console = Console()
    console.print(table)
    console.print(_cost_table(facts))
    for name, recorded in facts.checksums.items():
        state = "differs or is missing" if name in facts.damaged else recorded
        style = "bold red" if name in facts.damaged else "dim"
        console.print(Text(f"{printable(name)}: {state}", style=style), soft_wrap=True)


def _encoder_text(encoder: EncoderConfig) -> str:
    if isinstance(encoder, ConvConfig):
        return f"{encoder.architecture} of timm, {encoder.num_tokens} tokens"
    return (
        f"Swin, width {encoder.embed_dim}, depths {encoder.depths}, "
        f"windows of {encoder.window_size}"
    )


def _rows(facts: ModelFacts) -> list[tuple[str, str]]:
    config, vocabulary = facts.config, facts.vocabulary
    off = int((vocabulary.thresholds >= OFF).sum())
    on = vocabulary.thresholds[vocabulary.thresholds < OFF]
    spread = f"{on.min():.2f} to {on.max():.2f}" if len(on) else "none"
    checkpoint = facts.sources.get("checkpoint")
    rows = [
        ("Model", f"{facts.title} in {facts.folder}"),
        ("Input", f"{config.image_size_px} x {config.image_size_px} px"),
        ("Image encoder", _encoder_text(config.image_encoder)),
        ("Tag decoder", _decoder_text(config.tag_decoder)),
        ("Tags", f"{len(on):,}" + (", also in Chinese" * any(vocabulary.names_zh))),
        ("Thresholds", f"{spread}; {off} more are switched off, never shown"),
        ("New words", facts.new_words),
        ("Captions", "yes" if facts.has_captions else "no"),
        ("Weights", f"{facts.weights_bytes / 1e6:,.1f} MB, {', '.join(facts.weights_dtypes)}"),
        ("Licence", facts.license if facts.license is not None else "no WEIGHTS_LICENSE"),
    ]  # fmt: skip
    if checkpoint is not None:
        rows.append(("Made from", f"{checkpoint['from']}, sha256 {checkpoint['sha256']}"))
    return rows


def _decoder_text(decoder: TagDecoderConfig) -> str:
    if decoder.num_layers == 0:
        return f"none: labels of {decoder.hidden_dim} are compared with the whole image"
    return f"{decoder.num_layers} layers of {decoder.hidden_dim}"


def _cost_table(facts: ModelFacts) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("Part")
    table.add_column("parameters", justify="right")
    table.add_column("GFLOP per image", justify="right")
    for name, cost in [*facts.costs.items(), ("all", total(facts.costs))]:
        table.add_row(name.replace("_", " "), f"{cost.parameters:,}", f"{cost.gflop:,.3f}")
    return table
