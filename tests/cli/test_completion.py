"""Shell completion, and types for those who import the package."""

from importlib.resources import files

import pytest
from typer.testing import CliRunner

from ram_ray.cli.app import app


@pytest.mark.parametrize("package", ["ram_ray", "ram_model"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert files(package).joinpath("py.typed").is_file()


def test_the_shell_completes_commands() -> None:
    variables = {
        "_RAM_RAY_COMPLETE": "complete_bash",
        "COMP_WORDS": "ram-ray ev",
        "COMP_CWORD": "1",
    }
    answer = CliRunner().invoke(app, [], env=variables, prog_name="ram-ray")
    assert answer.stdout.split() == ["evaluate"]
