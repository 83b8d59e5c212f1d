"""What a reader of the report must know before believing it."""

from html import escape

from ram_ray.data_engine.report.data import ReportData
from ram_ray.data_engine.report.steps import num_removed

FEW_NAMED = 5_000
"""Named tags below which the page warns; chosen by looking at removals on 40 to 250 photos."""


def notes_of(data: ReportData) -> str:
    """Return the notes as HTML paragraphs."""
    facts = data.revision.facts
    models = facts["models"]
    notes: list[str] = []
    if len(models) == 1:
        notes.append(
            f"{models[0]} judged every image. That is out of fold only if it has not trained on "
            "these images; where it has, it confirms what it learnt."
        )
    else:
        notes.append(f"{len(models)} models, each judging the images it has not trained on.")
    if facts["filter_on"] and data.filter is None:
        notes.append(
            "There were too few named tags to learn a filter from (50 are needed, and as many of "
            "other images): nothing was removed by a rule."
        )
    elif data.filter is not None and data.filter["cut"] == float("inf"):
        notes.append(f"Nothing was removed by a rule: {data.filter['broken']}.")
    elif data.filter is not None and data.filter["checked_by"] == "nobody":
        notes.append(
            "Too few images have a second caption, so nobody has checked what the filter promises "
            "about its removals; with a weak model it removes too much."
        )
    if data.filter is not None and data.filter["num_named"] < FEW_NAMED:
        notes.append(
            f"The filter learned on {data.filter['num_named']:,} named tags; with fewer than "
            f"{FEW_NAMED:,} its estimates are rough"
            + (": look at what it removed." if num_removed(data) else ".")
        )
    if data.thresholds and data.thresholds[0].get("reason"):
        notes.append(f"Nothing was added: {data.thresholds[0]['reason']}.")
    elif data.thresholds and all(row["threshold"] >= 1 for row in data.thresholds):
        notes.append("No tag reaches the target precision on this sample: nothing was added.")
    elif data.thresholds and data.thresholds[0]["evidence"] == "own_caption":
        notes.append(
            "No image has a second caption and none is trusted, so the thresholds suppose that the "
            "model's surest images show the tag. Captions do not speak against that, but do not "
            "prove it: look at what was added, or give trusted labels."
        )
    if data.revision.undone:
        notes.append(f"Undone: {', '.join(data.revision.undone)}.")
    return "".join(f"<p>{escape(note)}</p>" for note in notes)
