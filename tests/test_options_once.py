"""Each option is written once: flags come from fields, no function passes options one by one."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import ram_ray
from ram_ray.cli.flags import field_docstrings, fields_of
from ram_ray.config import DecodeConfig, Recorded, StoreConfig, TagChoice
from ram_ray.data_engine.config import ClusterConfig, EngineConfig, FilterConfig, WindowConfig
from ram_ray.labels.parsing.config import ParseConfig
from ram_ray.serving.config import ServeConfig
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.retrying.config import RetryConfig
from ram_ray.training.config import TrainConfig

ROOT = Path(ram_ray.__file__).parents[1]
SOURCES = [*ROOT.glob("ram_ray/**/*.py"), *ROOT.glob("model/ram_model/**/*.py")]
MAX_PARAMETERS = 12
MAX_FILES_OF_AN_OPTION = 8


def test_no_function_takes_more_than_twelve_parameters():
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
                if count > MAX_PARAMETERS:
                    long.append(f"{path.relative_to(ROOT)}: {node.name} takes {count}")
    assert long == []


def test_an_option_is_named_in_few_files():
    naming = [path for path in ROOT.glob("ram_ray/**/*.py") if "top_k" in path.read_text("utf-8")]
    assert len(naming) <= MAX_FILES_OF_AN_OPTION, sorted(map(str, naming))


@pytest.mark.parametrize(
    "config_class", [TagConfig, RetryConfig, EngineConfig, ParseConfig, ServeConfig, TrainConfig]
)
def test_every_flag_has_a_help_text(config_class):
    documented = field_docstrings(config_class)
    names = [one.name for one in fields(config_class) if one.name in documented]
    flags = fields_of(config_class, {None: " ".join(names)}).parameters()
    assert list(flags) == names
    assert all(flag.annotation.__metadata__[0].help.strip(".") for flag in flags.values())


def test_a_flag_tells_its_default_and_the_other_flags():
    (threshold,) = fields_of(TagChoice, {None: "threshold"}).parameters().values()
    told = threshold.annotation.__metadata__[0]
    assert told.help.endswith("(default: the model's own).")
    assert told.metavar == "X|FILE"
    flags = fields_of(TrainConfig, {None: "from_model vocabulary"}).parameters()
    told = flags["vocabulary"].annotation.__metadata__[0]
    assert told.help == "File of the tags to learn (default: those of `--from`)."


def test_settings_in_records_are_written_as_by_the_first_version():
    """A field added later must say `since`; otherwise steps that are done are done again."""
    assert repr(DecodeConfig()) == (
        "DecodeConfig(orientation='ignore', max_image_bytes=268435456, max_image_pixels=100000000,"
        " decode_timeout_s=30.0, decode_memory_bytes=1610612736)"
    )
    assert repr(WindowConfig()) == (
        "WindowConfig(scales=(0.6, 0.4), overlap=0.5, min_score=0.05, regions_per_tag=1)"
    )
    assert repr(ClusterConfig()) == (
        "ClusterConfig(num_clusters=3, min_regions=30, sample_per_tag=2000, cut='adaptive', "
        "outlier_z=3.0, outlier_share=0.1, iterations=25, seed=0)"
    )
    assert repr(FilterConfig(rules=("improbable",), policy={"object": "judge"})) == (
        "FilterConfig(rules=('improbable',), min_precision=0.5, max_over_removal=0.07, "
        "policy={'object': 'judge'}, penalty=1.0)"
    )
    assert isinstance(DecodeConfig(), Recorded)
    assert not isinstance(StoreConfig(), Recorded)
