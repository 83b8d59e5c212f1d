"""What each teacher is worth to ram-mini: short trainings, equal but for the teachers.

    python -m jobs.ablate_ram_mini --data ../shared/data --cache runs/cache --run runs/ablate \
        --minutes 12 --seeds 0 1

Each training takes `--minutes` of CPU time of one thread. mAP is that of the tag decoder on the
held-out tars 10 and 11 over the plain word list. `results.jsonl` in the run folder gets a line per
training, with its differences to those before it: their intervals resample the photos of both
alike, so they are narrower than those of the two values. Run again to go on after an interruption:
what has a line is not trained again, and a checkpoint per epoch is kept.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jobs.package_ram_mini import figures, map_of_draws, word_columns
from jobs.ram_mini_teacher import Teacher
from jobs.train_ram_mini import Data, Student, Trainer, begin_from, mini_config, predict

ARMS: dict[str, tuple[str, ...]] = {
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
DEFAULT_ARMS = ("captions only", "all teachers", "features", "classes", "tag probe")
RESULTS = "results.jsonl"


def main(
    data_folder: Path,
    cache: Path,
    run: Path,
    minutes: float,
    *,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: Sequence[int] = (0,),
    start: Path | None = None,
) -> None:
    """Train and measure every arm with every seed, in turn.

    Args:
        start: model folder that each training begins with; None: random weights.
    """
    torch.set_num_threads(1)
    run.mkdir(parents=True, exist_ok=True)
    data = Data(cache)
    teacher = Teacher(data, cache)
    words = (data_folder / "labels/flickr8k_plain_words.txt").read_text().split()
    truth = word_truth(data, words)
    for seed in seeds:
        for arm in arms:
            name = f"{arm}, seed {seed}"
            done = read_results(run)
            if name in done:
                continue
            trained = train_arm(data, teacher, run / name, minutes, ARMS[arm], seed, start)
            scores, _ = predict(trained.student.eval(), data, data.test_rows)
            scores = word_scores(words, scores)
            np.save(run / name / "scores.npy", scores.astype(np.float32))
            earlier = {old: np.load(run / old / "scores.npy") for old in done}
            line = {"run": name, "steps": trained.step, "epochs": trained.epoch}
            line |= {"minutes": minutes, "from": None if start is None else str(start)}
            line |= figures(truth, scores) | {"gain_over": gains(truth, scores, earlier)}
            with (run / RESULTS).open("a") as results:
                results.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def train_arm(
    data: Data,
    teacher: Teacher,
    folder: Path,
    minutes: float,
    without: Sequence[str],
    seed: int,
    start: Path | None,
) -> Trainer:
    """Return a trained student, with its averaged weights in place."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    student = Student(mini_config(len(data.tags)), data.targets[data.has_captions].mean(0))
    if start is not None:
        student.ram = begin_from(start)
    trainer = Trainer(student, data, teacher, total_s=minutes * 60, without=without, seed=seed)
    trainer.resume(folder)
    while trainer.trained_s < trainer.total_s:
        print(json.dumps(trainer.run_epoch()), flush=True)
        trainer.save(folder)
    student.load_state_dict(trainer.average)
    return trainer


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
    a = parser.parse_args()
    main(a.data, a.cache, a.run, a.minutes, arms=a.arms, seeds=a.seeds, start=a.start)
