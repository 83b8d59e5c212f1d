"""`ram-ray evaluate` and `ram-ray calibrate`."""

import json
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

Labels = Annotated[
    str,
    typer.Argument(
        help="Labels of people: .jsonl or .parquet (image_id, present, absent), COCO .json, "
        "OpenImages .csv, a VOC folder, or RAM's .txt lists.",
        show_default=False,
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(help="jsonl, parquet, coco, openimages, voc or lines; otherwise by the name."),
]
Unlisted = Annotated[
    str | None,
    typer.Option(help="What a tag is that labels do not name: absent or unverified."),
]
TagList = Annotated[
    str | None,
    typer.Option(
        help="With RAM's .txt lists: file of all classes, one a line; otherwise the one that was "
        "published with them, if it lies beside.",
        show_default=False,
    ),
]
Match = Annotated[str, typer.Option(help="How image ids meet: path, name or stem.")]


def evaluate(
    output: flags.ExistingOutput,
    labels: Labels,
    layout: Layout = None,
    unlisted: Unlisted = None,
    tag_list: TagList = None,
    match: Match = "path",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Beside the model: clip=FOLDER (zero-shot), linear=FOLDER (head on its features),"
            " linear (on the model's own features); repeatable. FOLDER is open_clip's.",
            show_default=False,
        ),
    ] = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Compare a run's scores with labels: mAP, precision, recall, per tag; JSON and a page.

    The run must hold all scores: `ram-ray tag SOURCE OUTPUT --score-floor 0`.
    """
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.evaluation import pipeline
        from ram_ray.options import build_config

        store = flags.store_config(endpoint_url, region, anonymous)
        given = {"output": output, "labels": labels, "layout": layout, "unlisted": unlisted}
        config = build_config(pipeline.LabelsConfig, given | {"match": match, "tag_list": tag_list})
        figures = pipeline.evaluate(config.with_store(store), baselines=baseline or ())
        if as_json:
            print(json.dumps(figures))
        else:
            _print_evaluation(figures, output)


def calibrate(
    output: flags.ExistingOutput,
    labels: Labels,
    thresholds_file: Annotated[
        str, typer.Option("--write", help="File for the thresholds, one a line.")
    ] = "thresholds.txt",
    target_precision: Annotated[
        float, typer.Option(help="Share of right tags among those given, 0..1.")
    ] = 0.9,
    confidence: Annotated[float, typer.Option(help="Of each tag's bound, 0.5..1.")] = 0.9,
    layout: Layout = None,
    unlisted: Unlisted = None,
    tag_list: TagList = None,
    match: Match = "path",
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Choose a threshold for each tag that keeps a precision; use it with `tag --threshold FILE`.

    Take images the model was not trained on. A tag that cannot show the precision is switched off.
    """
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.evaluation import pipeline
        from ram_ray.evaluation.calibration import CalibrationConfig
        from ram_ray.options import build_config

        promise = CalibrationConfig(target_precision=target_precision, confidence=confidence)
        store = flags.store_config(endpoint_url, region, anonymous)
        given = {"output": output, "labels": labels, "layout": layout, "unlisted": unlisted}
        config = build_config(pipeline.LabelsConfig, given | {"match": match, "tag_list": tag_list})
        report = pipeline.calibrate(config.with_store(store), promise, thresholds_file)
        if as_json:
            print(json.dumps(report))
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
        print(f"{report['tags_without_labels']:7,} tags abstain: the labels do not name them")
    print(f"Thresholds: {thresholds_file}; why: {thresholds_file}.json")
