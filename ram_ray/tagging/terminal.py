"""What the commands print about tagging: one photo's tags, a plan, a run, a recount, a retry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ram_ray.console.progress import format_duration
from ram_ray.console.terminal import facts_table, format_bytes, print_notes, printable, score_table
from ram_ray.tagging.remark_notes import remark_notes

if TYPE_CHECKING:  # these import ray or torch; a name is enough here
    from ram_ray.tagging.forecast.estimate import Bill, Estimate
    from ram_ray.tagging.forecast.pipeline import PlanReport
    from ram_ray.tagging.forecast.sample import Sample
    from ram_ray.tagging.outputs.status import RunStatus
    from ram_ray.tagging.outputs.verification import VerifyReport
    from ram_ray.tagging.photo import TaggedPhoto
    from ram_ray.tagging.retrying.pipeline import RetrySummary
    from ram_ray.tagging.summary import RunSummary


def print_photo(photo: TaggedPhoto) -> None:
    """Print one line per tag, falling score: name, bar, score."""
    console = Console()
    headline = f"{printable(photo.path)}  ({photo.model_id})"
    console.print(Text(headline, style="bold"), soft_wrap=True)
    if photo.caption is not None:
        console.print(Text(f"  {printable(photo.caption)}", style="italic"), soft_wrap=True)
    if not photo.tags:
        console.print("  no tag reached its threshold; try a lower --threshold", style="dim")
    console.print(score_table(zip(photo.tags, photo.scores, strict=True)))
    print_notes(console, photo.notes)


def print_summary(summary: RunSummary) -> None:
    """Print counts, speed, reasons of quarantine, output and notes of a finished run."""
    console = Console()
    table = facts_table()
    table.add_row("Images", f"{summary.num_images:,} in {_shards(summary.num_shards)}")
    table.add_row("Tagged", f"{summary.num_tagged:,}")
    reasons = _reasons(summary.quarantined_by_code)
    table.add_row("Quarantined", f"{summary.num_quarantined:,}{reasons}")
    if summary.num_skipped:
        skipped = f"{summary.num_skipped:,}{_reasons(summary.skipped_by_suffix)}"
        table.add_row("Skipped by name", Text(printable(skipped)))
    _add_passed(table, summary.passed_over, summary.passed_examples)
    table.add_row("Time", _speed(summary))
    table.add_row("Model", summary.model_id)
    table.add_row("Output", Text(printable(summary.output)))
    console.print(table)
    print_notes(console, (*summary.notes, *remark_notes(summary.remarks)))


def _speed(summary: RunSummary) -> str:
    took = format_duration(summary.wall_s)
    if summary.resumed and not summary.images_per_s:
        return f"{took}; all was done before"
    return f"{took}, {summary.images_per_s:,.1f} images/s" + " (resumed)" * summary.resumed


def print_plan(report: PlanReport) -> None:
    """Print what is planned, what a sample took, and what the run will take and cost."""
    console = Console()
    table = facts_table()
    size = f"{format_bytes(report.size_bytes)}" + " (planned before)" * report.planned_before
    table.add_row("Images", f"{report.num_images:,} in {_shards(report.num_shards)}, {size}")
    if report.num_skipped:
        skipped = f"{report.num_skipped:,}{_reasons(report.skipped_by_suffix)}"
        table.add_row("Skipped by name", Text(printable(skipped)))
    _add_passed(table, report.passed_over, report.passed_examples)
    if report.num_done:
        table.add_row("Done already", f"{report.num_done:,}")
    if report.sample is not None:
        for name, text in _sample_facts(report.sample):
            table.add_row(name, text)
    if report.estimate is not None:
        for name, text in _estimate_facts(report.estimate):
            table.add_row(name, text)
    if report.bill.get_requests or report.bill.put_requests:
        requests = f"{report.bill.get_requests:,} GET, {report.bill.put_requests:,} PUT and LIST"
        table.add_row("Requests", requests)
    if report.bill.total is not None:
        table.add_row("Cost", _cost(report.bill))
    table.add_row("Model", report.model_id)
    table.add_row("Output", Text(printable(report.output)))
    console.print(table)
    print_notes(console, report.notes)
    if report.num_done < report.num_images:
        console.print("Go on with `ram-ray tag` and the same options: nothing is listed again.")


def _sample_facts(sample: Sample) -> Iterator[tuple[str, str]]:
    failed = f", {sample.num_failed:,} cannot be tagged{_reasons(sample.failed_by_code)}"
    yield "Sample", f"{sample.num_images:,} images" + failed * bool(sample.num_failed)
    if sample.model_s:
        times = (("fetch", sample.fetch_s), ("decode", sample.decode_s), ("model", sample.model_s))
        text = ", ".join(f"{name} {seconds * 1000:,.2f} ms" for name, seconds in times)
        yield "Per image", f"{text} ({sample.device}, {sample.batch_size} a call)"


def _estimate_facts(estimate: Estimate) -> Iterator[tuple[str, str]]:
    low, high = format_duration(estimate.wall_low_s), format_duration(estimate.wall_high_s)
    about = f"about {format_duration(estimate.wall_s)} ({low} to {high}), "
    yield (
        "Time",
        about + f"{estimate.images_per_s:,.1f} images/s on a machine like this one, once Ray runs",
    )
    yield "Slowest part", estimate.bottleneck
    decoding, model = (
        format_duration(hours * 3600) for hours in (estimate.core_hours, estimate.model_hours)
    )
    yield "Work", f"{decoding} of decoding on one core, {model} of the model on one device"
    yield "Written", f"about {format_bytes(estimate.output_bytes)} of tags"


def _cost(bill: Bill) -> str:
    parts = (("machine", bill.machine), ("requests", bill.requests))
    shown = ", ".join(f"{name} {cost:,.2f}" for name, cost in parts if cost is not None)
    return f"{bill.total:,.2f} ({shown})"


def print_retry(summary: RetrySummary) -> None:
    """Print what became of the images that were tried again, and what the output holds now."""
    console = Console()
    table = facts_table()
    again = f"{summary.num_retried:,}" if summary.num_retried else "nothing to try again"
    table.add_row("Tried again", again + (" (resumed)" if summary.resumed else ""))
    if summary.num_retried:
        reasons = _reasons(summary.quarantined_by_code)
        table.add_row("Tagged now", f"{summary.num_tagged:,}")
        table.add_row("Quarantined still", f"{summary.num_quarantined:,}{reasons}")
        table.add_row("Time", format_duration(summary.wall_s))
    whole = f"{summary.output_tagged:,} tagged, {summary.output_quarantined:,} quarantined"
    table.add_row("Output", Text(f"{printable(summary.output)}  ({whole})"))
    console.print(table)
    print_notes(console, (*summary.notes, *remark_notes(summary.remarks)))


def print_status(status: RunStatus) -> None:
    """Print how far a run is: one line per fact that is known."""
    console = Console()
    table = facts_table()
    told = {"unknown": "a driver on another machine, as the lease says"}
    table.add_row("State", told.get(status.state, status.state) + " (retry)" * status.retrying)
    if status.driver:
        table.add_row("Driver", Text(printable(status.driver)))
    if status.planned is None:
        listed = "the source is being listed"
        more = "" if status.listed is None else f": {status.listed:,} images so far"
        table.add_row("Planned", listed + more)
    else:
        table.add_row("Planned", f"{status.planned:,} in {_shards(status.shards or 0)}")
        share = f" ({status.done / status.planned:.1%})" if status.planned else ""
        table.add_row("Done", f"{status.done:,}{share} in {_shards(status.committed)}")
        about = "about " * status.quarantine_estimated
        reasons = _reasons(status.quarantined_by_code)
        table.add_row("Quarantined", f"{about}{status.quarantined:,}{reasons}")
    if status.last_commit:
        ago = format_duration(status.idle_s or 0.0)
        table.add_row("Last commit", f"{status.last_commit} ({ago} ago)")
    if status.images_per_s and status.state != "finished":
        left = f", {format_duration(status.left_s)} left" if status.left_s is not None else ""
        table.add_row("Rate", f"{status.images_per_s:,.1f} images/s of late{left}")
    console.print(table)
    if status.state == "stopped":
        console.print("Nobody works on it: run the same `ram-ray tag` again to go on.")


def print_verification(report: VerifyReport) -> None:
    """Print the recount of an OUTPUT, and each problem on a line of its own."""
    console = Console()
    table = facts_table()
    table.add_row("Planned", f"{report.planned:,} in {_shards(report.shards)}")
    table.add_row("Tagged", f"{report.tagged:,}")
    table.add_row("Quarantined", f"{report.quarantined:,}")
    table.add_row("Missing", f"{report.missing:,}")
    table.add_row("Duplicate", f"{report.duplicate:,}")
    if report.uncommitted_shards:
        table.add_row("Not committed", _shards(report.uncommitted_shards))
    console.print(table)
    for problem in report.problems:
        console.print(Text(f"  {printable(problem)}", style="red"))
    if report.ok:
        console.print("Every planned image is there exactly once.", style="green")
    command = "ram-ray tag"
    if report.unfinished_retry is not None:
        command = "ram-ray retry"
        print_notes(console, ("A retry was interrupted; run the same `ram-ray retry` again.",))
    if not report.ok:
        console.print(f"Not complete; run `{command}` again to resume.", style="bold red")


def print_step(text: str) -> None:
    """Print the headline of a step."""
    console = Console()
    console.print()
    console.print(Text(text, style="bold cyan"))


def print_sample(rows: Iterable[Mapping[str, Any]], *, max_tags: int = 6) -> None:
    """Print one line per image: name and best tags; `rows` as in schema.TAGS."""
    table = facts_table()
    for row in rows:
        best = zip(row["tags"][:max_tags], row["scores"], strict=False)
        tags = ", ".join(f"{tag} {score:.2f}" for tag, score in best) or "no tag"
        table.add_row(Text(printable(row["image_id"])), Text(printable(tags), style="default"))
    Console().print(table)


def print_quarantine(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one line per image that failed; `rows` as in schema.QUARANTINE."""
    table = facts_table()
    table.add_column()
    for row in rows:
        code = Text(row["error_code"], style="yellow")
        table.add_row(Text(printable(row["image_id"])), code, Text(printable(row["message"])))
    Console().print(table)


def print_next_steps(report: str) -> None:
    """Print where the report is and the three commands to go on with."""
    print_step("Look at the pictures and their tags in a browser:")
    console = Console()
    console.print(Text(f"  {report}"))
    print_step("Next:")
    table = facts_table()
    table.add_row("  ram-ray tag FOLDER tags-out", "a folder of yours")
    table.add_row("  ram-ray tag s3://BUCKET/PREFIX tags-out", "a bucket of yours")
    table.add_row("  ram-ray serve", "an API and a page to try it")
    console.print(table)


def _add_passed(table: Table, counts: Mapping[str, int], examples: Mapping[str, str]) -> None:
    """Say what listing came past and could not take: `1 folder that may not be read (a/)`."""
    if counts:
        shown = (f"{count:,} {why} ({examples.get(why, '')})" for why, count in counts.items())
        table.add_row("Passed over", Text(printable(", ".join(shown))))


def _reasons(by_code: Mapping[str, int]) -> str:
    """Return ` (2 corrupt, 1 empty)`; nothing where nothing failed."""
    counts = ", ".join(f"{count:,} {code}" for code, count in sorted(by_code.items()))
    return f" ({counts})" if counts else ""


def _shards(count: int) -> str:
    return f"{count:,} shard{'s' if count != 1 else ''}"
