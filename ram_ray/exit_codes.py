"""How a command ends: an exit code, and one sentence on stderr where something went wrong."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ram_ray.errors import ImageError, RamRayError, is_full_disk

DONE = 0
FAILED_CHECK = 1  # `ram-ray doctor` found something that does not work
WRONG_USAGE = 2
TOO_MANY_QUARANTINED = 3
INCOMPLETE = 4
UNREACHABLE = 5
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def of_run(error_rate: float, max_error_rate: float) -> int:
    """Return the exit code of a run that committed every shard."""
    return TOO_MANY_QUARANTINED if error_rate > max_error_rate else DONE


@contextmanager
def exit_on_error(*, debug: bool = False) -> Iterator[None]:
    """Turn the errors a user can act on into a sentence and SystemExit; others pass through."""
    try:
        yield
    except (RamRayError, ImageError) as error:
        if debug:
            traceback.print_exc()
        _say(error)
        code = error.exit_code if isinstance(error, RamRayError) else TOO_MANY_QUARANTINED
        raise SystemExit(code) from None
    except OSError as error:  # a file that the user named: no room, no permission, a folder
        if error.filename is None and not is_full_disk(error):
            raise
        if debug:
            traceback.print_exc()
        full = is_full_disk(error)
        advice = "; make room and run the same command again" if full else ""
        named = f"{error.filename}: " if error.filename is not None else ""
        _say(f"{named}{error.strerror or error}{advice}.")
        raise SystemExit(INCOMPLETE if full else UNREACHABLE) from None
    except KeyboardInterrupt:
        print("\nStopped; run the same command again to resume.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _say(sentence: object) -> None:
    """Print an error; names in it may hold what would steer a terminal."""
    shown = (c if c.isprintable() or c == "\n" else "?" for c in f"ram-ray: {sentence}")
    print("".join(shown), file=sys.stderr)
