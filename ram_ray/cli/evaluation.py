"""`ram-ray evaluate` and `ram-ray calibrate`."""

from typing import Annotated

import typer

from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.console.terminal import printable
from ram_ray.evaluation.config import CalibrationConfig, LabelsConfig
from ram_ray.options import build_config

Labels = Annotated[
    str,
    typer.Argument(
        help="Labels of people: .jsonl or .parquet (image_id, present, absent), COCO .json, "
        "OpenImages .csv, a VOC folder, or RAM's .txt lists.",
        show_default=False,
    ),
]
_FLAGS = fields_of(
    LabelsConfig,
    {
        None: "layout unlisted tag_list match",
        "Which images": "store.endpoint_url store.region store.anonymous",
    },
)
_PROMISE = fields_of(CalibrationConfig, {None: "target_precision confidence allow_empty"})


@command
def evaluate(
    *,
    output: flags.ExistingOutput,
    labels: Labels,
    given: Annotated[Given, _FLAGS],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Beside the model: clip=FOLDER (zero-shot), linear=FOLDER (head on its features),"
            " linear (on the model's own features); repeatable. FOLDER is open_clip's.",
            show_default=False,
        ),
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Compare a run's scores with labels: mAP, precision, recall, per tag; JSON and a page.

    The run must hold all scores: `ram-ray tag SOURCE OUTPUT --score-floor 0`.
    """
    from ram_ray.evaluation import pipeline

    config = build_config(LabelsConfig, {"output": output, "labels": labels, **given})
    figures = pipeline.evaluate(config, baselines=baseline or ())
    if as_json:
        print_json(figures)
    else:
        _print_evaluation(figures, output)


@command
def calibrate(
    *,
    output: flags.ExistingOutput,
    labels: Labels,
    thresholds_file: Annotated[
        str, typer.Option("--write", help="File for the thresholds, one a line.")
    ] = "thresholds.txt",
    promise: Annotated[CalibrationConfig, _PROMISE],
    given: Annotated[Given, _FLAGS],
    as_json: flags.Json = False,
) -> None:
    """Choose a threshold for each tag that keeps a precision; use it with `tag --threshold FILE`.

    Take images the model was not trained on. A tag that cannot show the precision is switched off;
    one that the labels do not name stays as it was.
    """
    from ram_ray.evaluation import pipeline

    config = build_config(LabelsConfig, {"output": output, "labels": labels, **given})
    report = pipeline.calibrate(config, promise, thresholds_file)
    if as_json:
        print_json(report)
    else:
        _print_calibration(report, thresholds_file)


def _print_evaluation(figures: dict, output: str) -> None:
    known, reference = (figures["map"][n] for n in ("known_labels_only", "reference_protocol"))
    print(f"{figures['images']:,} images, {figures['tags']:,} tags, model {figures['model']}")
    for title, found in (("mAP, known labels", known), ("mAP, papers' protocol", reference)):
        low, high = found["interval"]
        print(f"{title:24}{found['value']:8.3f}   95 % interval {low:.3f} to {high:.3f}")
    print(f"{'mAP of the tag prior':24}{figures['map']['prior']:8.3f}")
    for found in figures["baselines"]:
        low, high = found["model_lead"]["interval"]
        print(
            f"{found['name']:24}{found['map']['value']:8.3f}   the model is ahead by "
            f"{found['model_lead']['value']:.3f} ({low:.3f} to {high:.3f})"
        )
    for title, key in (("at the thresholds", "at_thresholds"), ("at 0.5", "at_0.5")):
        found = figures[key]
        print(
            f"{title:24}CF1 {found['class_f1']:.3f}   OF1 {found['overall_f1']:.3f}   "
            f"precision {found['overall_precision']:.3f}   recall {found['overall_recall']:.3f}"
        )
    missing = len(figures["names_without_tag"])
    if missing:
        print(f"{missing} names in the labels are no tag of the run; the page lists them.")
    print(f"Page: {output.rstrip('/')}/evaluation.html")


def _print_calibration(report: dict, thresholds_file: str) -> None:
    words = {
        "given": "have a threshold",
        "no_positives": "abstain: no image is known to show them",
        "too_few_firings": "abstain: too few labelled images",
        "target_not_reached": "abstain: the precision is not shown",
    }
    print(
        f"Target precision {report['target_precision']:g} at confidence "
        f"{report['confidence']:g}, {report['images']:,} images:"
    )
    for outcome, count in report["outcomes"].items():
        print(f"{count:7,} tags {words[outcome]}")
    if report["tags_without_labels"]:
        print(f"{report['tags_without_labels']:7,} tags stay as they were: the labels say nothing")
    print(
        f"{report['tags_on']:7,} tags are on in the file, {report['tags_on_before']:,} were before"
    )
    if off := report["switched_off"]:
        shown = ", ".join(off[:5]) + (", ..." if len(off) > 5 else "")
        print(printable(f"Note: {len(off):,} tags that were on are switched off: {shown}"))
    print(f"Thresholds: {thresholds_file}; why: {thresholds_file}.json")
