"""What each teacher is worth to ram-mini: short trainings, equal but for the teachers.

    python -m research.ram_mini.ablate --data ../shared/data --cache runs/cache --run runs/ablate \
        --minutes 5 --width 24

Each training takes `--minutes` of CPU time of one thread. Measured are, as mAP on the held-out
tars 10 and 11 over the plain word list, the tag decoder, and a linear probe that is fitted
afterwards, for all alike, on the image encoder's mean token and the captions of the training
photos: it says what the encoder has learned where the decoder has hardly begun.

`results.jsonl` in the run folder gets a line per training, with its gains over those before it:
their intervals resample the photos of both alike, so they are narrower than those of the values.
Run again to go on after an interruption: what has a line is not trained again, and a checkpoint per
epoch is kept. A cache of `research.ram_mini.prepare --train-tars` will do, and `--width 24`, half
of ram-mini's, makes a step more than twice as fast.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ram_model import Ram
from research.ram_mini.data import Data
from research.ram_mini.package import figures, map_of_draws, word_columns
from research.ram_mini.student import Student, begin_from, mini_config
from research.ram_mini.teacher import Teacher, fit_probe
from research.ram_mini.train import BATCH_SIZE, Trainer, predict
from research.ram_mini.views import normalise

UNTRAINED = "untrained"
ARMS: dict[str, tuple[str, ...]] = {
    UNTRAINED: ("features", "classes", "probe"),
    "captions only": ("features", "classes", "probe"),
    "all teachers": (),
    "features": ("classes", "probe"),
    "classes": ("features", "probe"),
    "tag probe": ("features", "classes"),
    "without features": ("features",),
    "without tag probe": ("probe",),
    "without classes": ("classes",),
}
"""Teachers left out; captions are learned from in all of them."""
DEFAULT_ARMS = (UNTRAINED, "captions only", "all teachers", "features", "classes", "tag probe")
RESULTS, SCORES = "results.jsonl", "scores.npz"


def main(
    data_folder: Path,
    cache: Path,
    run: Path,
    minutes: float,
    *,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: Sequence[int] = (0,),
    start: Path | None = None,
    embed_dim: int | None = None,
) -> None:
    """Train and measure every arm with every seed, in turn.

    Args:
        start: model folder that each training begins with; None: random weights.
        embed_dim: of the students, as of `mini_config`.
    """
    torch.set_num_threads(1)
    run.mkdir(parents=True, exist_ok=True)
    data = Data(cache)
    teacher = Teacher(data, cache)
    words = (data_folder / "labels/flickr8k_plain_words.txt").read_text().split()
    truth = word_truth(data, words)
    for seed in seeds:
        for arm in arms:
            begun = "" if start is None else f", from {start.name}"
            name = f"{arm}, seed {seed}{begun}"
            done = read_results(run)
            if name in done:
                continue
            length = 0.0 if arm == UNTRAINED else minutes
            student = new_student(data, seed, start, embed_dim)
            trained = train_arm(
                student, data, teacher, run / name, length, without=ARMS[arm], seed=seed
            )
            scores = {
                "decoder": predict(trained.student.eval(), data, data.test_rows)[0],
                "probe": probe_scores(trained.student.ram, data),
            }
            scores = {of: word_scores(words, found) for of, found in scores.items()}
            np.savez(run / name / SCORES, **scores)  # pyright: ignore[reportArgumentType]
            line = {"run": name, "steps": trained.step, "epochs": trained.epoch, "minutes": length}
            for of, found in scores.items():
                earlier = {old: np.load(run / old / SCORES)[of] for old in done}
                line[of] = figures(truth, found) | {"gain_over": gains(truth, found, earlier)}
            with (run / RESULTS).open("a") as results:
                results.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def new_student(data: Data, seed: int, start: Path | None, embed_dim: int | None) -> Student:
    """Return the student that a training begins with."""
    torch.manual_seed(seed)
    config = mini_config(len(data.tags), embed_dim)
    student = Student(config, data.targets[data.has_captions].mean(0))
    if start is not None:
        student.ram = begin_from(start)
    return student


def train_arm(
    student: Student,
    data: Data,
    teacher: Teacher,
    folder: Path,
    minutes: float,
    *,
    without: Sequence[str],
    seed: int,
) -> Trainer:
    """Return the trainer of a trained student, which has its averaged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(student, data, teacher, total_s=minutes * 60, without=without, seed=seed)
    trainer.resume(folder)
    while trainer.trained_s < trainer.total_s:
        print(json.dumps(trainer.run_epoch()), flush=True)
        trainer.save(folder)
    student.load_state_dict(trainer.average)
    return trainer


@torch.inference_mode()
def pooled_tokens(model: Ram, data: Data, rows: np.ndarray) -> Tensor:
    """Return the image encoder's mean token of whole photos, float32 [N, V]."""
    parts = []
    for start in range(0, len(rows), BATCH_SIZE):
        pixels = torch.from_numpy(data.pixels_128[rows[start : start + BATCH_SIZE]])
        parts.append(model.image_encoder(normalise(pixels.permute(0, 3, 1, 2) / 255))[:, 0])
    return torch.cat(parts)


def probe_scores(model: Ram, data: Data) -> np.ndarray:
    """Return scores [N, C] of the held-out photos by a linear probe on the encoder's mean token."""
    rows = np.flatnonzero(data.has_captions)
    tokens, tested = (pooled_tokens(model.eval(), data, r) for r in (rows, data.test_rows))
    mean, std = tokens.mean(0), tokens.std(0) + 1e-6
    weight, bias = fit_probe((tokens - mean) / std, torch.from_numpy(data.targets[rows]))
    return ((tested - mean) / std @ weight + bias).sigmoid().numpy()


def read_results(run: Path) -> list[str]:
    """Return the names of the trainings that were measured."""
    if not (run / RESULTS).exists():
        return []
    return [json.loads(line)["run"] for line in (run / RESULTS).read_text().splitlines()]


def word_truth(data: Data, words: list[str]) -> np.ndarray:
    """Return float32 [N, W] of the held-out photos: captions say the word or its plural."""
    said = [data.words[row] for row in data.test_rows]
    return np.array([[w in s or w + "s" in s for w in words] for s in said], dtype=np.float32)


def word_scores(words: list[str], scores: np.ndarray) -> np.ndarray:
    """Return scores [N, W] of words from those of tags [N, C]; 0 for a word without a tag."""
    columns = word_columns(words)
    return np.where(columns >= 0, scores[:, columns], 0.0)


def gains(
    truth: np.ndarray, scores: np.ndarray, earlier: dict[str, np.ndarray]
) -> dict[str, list[float]]:
    """Return by how much mAP exceeds that of other scores: value, lower and upper end (95 %).

    The same photos are drawn for both (`map_of_draws`).
    """
    value, drawn = map_of_draws(truth, scores)
    found = {}
    for name, other in earlier.items():
        its_value, its_drawn = map_of_draws(truth, other)
        gain, margin = value - its_value, 1.96 * float(np.std(drawn - its_drawn))
        found[name] = [round(number, 5) for number in (gain, gain - margin, gain + margin)]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=DEFAULT_ARMS)
    parser.add_argument("--seeds", nargs="*", type=int, default=(0,))
    parser.add_argument("--from", type=Path, dest="start", help="model folder to begin with")
    parser.add_argument("--width", type=int, help="of the image encoder's first stage; 48")
    a = parser.parse_args()
    given = {"arms": a.arms, "seeds": a.seeds, "start": a.start, "embed_dim": a.width}
    main(a.data, a.cache, a.run, a.minutes, **given)
