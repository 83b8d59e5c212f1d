"""What each teacher is worth to ram-mini: short trainings from scratch, equal but for the teachers.

    python -m jobs.ablate_ram_mini --data ../shared/data --cache runs/cache --minutes 5

Prints one line per training: mAP of the tag decoder on the held-out tars 10 and 11 over the plain
word list, with its interval. Each takes `--minutes` of CPU time of one thread; nothing is kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from jobs.package_ram_mini import figures, word_columns
from jobs.ram_mini_data import Data
from jobs.ram_mini_student import Student, mini_config
from jobs.ram_mini_teacher import Teacher
from jobs.train_ram_mini import Trainer, predict

ABLATIONS: dict[str, tuple[str, ...]] = {
    "all teachers": (),
    "captions only": ("features", "classes", "probe"),
    "without features": ("features",),
    "without tag probe": ("probe",),
    "without classes": ("classes",),
}


def main(data_folder: Path, cache: Path, minutes: float) -> None:
    """Train and measure each of `ABLATIONS` in turn."""
    torch.set_num_threads(1)
    data = Data(cache)
    teacher = Teacher(data, cache)
    words = (data_folder / "labels/flickr8k_plain_words.txt").read_text().split()
    for name, without in ABLATIONS.items():
        torch.manual_seed(0)
        student = Student(mini_config(len(data.tags)), data.targets[data.has_captions].mean(0))
        trainer = Trainer(student, data, teacher, total_s=minutes * 60, without=without)
        while trainer.trained_s < trainer.total_s:
            trainer.run_epoch()
        student.load_state_dict(trainer.average)
        scores, _ = predict(student.eval(), data, data.test_rows)
        found = yardstick(data, scores, words)
        print(json.dumps({"run": name, "steps": trainer.step} | found), flush=True)


def yardstick(data: Data, scores: np.ndarray, words: list[str]) -> dict:
    """Return mAP, interval and prior over the plain words; scores [N, C] of the held-out photos."""
    said = [data.words[row] for row in data.test_rows]
    truth = np.array([[w in s or w + "s" in s for w in words] for s in said], dtype=np.float32)
    columns = word_columns(words)
    return figures(truth, np.where(columns >= 0, scores[:, columns], 0.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    a = parser.parse_args()
    main(a.data, a.cache, a.minutes)
