"""The demo's folder: made when missing, emptied only when a former demo made it."""

import shutil
from pathlib import Path

from ram_ray.errors import ConfigError

MARKER = ".ram-ray-demo"  # a folder with this file is ours to empty


def start_afresh(output: Path) -> None:
    """Make `output` an empty folder of ours; only a former demo's is emptied.

    Raises:
        ConfigError: it holds something else.
    """
    if output.exists():
        ours = (output / MARKER).is_file()
        if not ours and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(
                f"{output} is there already and is not a demo's; name another folder, "
                "`ram-ray demo FOLDER`."
            )
        if ours:
            shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARKER).write_text("Made by `ram-ray demo`, which empties this folder.\n")
