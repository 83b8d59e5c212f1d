"""Where options come from, which one wins, and what a wrong one is told."""

import pytest

from ram_ray.errors import ConfigError
from ram_ray.options import merge_settings, parse_tags
from ram_ray.tagging.config import tag_config
from ram_ray.training.config import TrainConfig

PLACES = {"source": "photos", "output": "out"}


def build(*settings, flags=None, config_file=None):
    given = PLACES | (flags or {})
    return tag_config(merge_settings(given, config_file=config_file, settings=settings))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_win_over_the_file_and_set_wins_over_flags(tmp_path):
    file = write(tmp_path / "run.yaml", "top_k: 3\nshard_rows: 50\nbatch_size: 8\n")
    config = build("batch_size=2", flags={"shard_rows": 60, "batch_size": 4}, config_file=file)
    assert (config.top_k, config.shard_rows, config.batch_size) == (3, 60, 2)


def test_file_has_sections_and_set_has_dotted_keys(tmp_path):
    file = write(
        tmp_path / "run.yaml",
        "source: s3://bucket\noutput: out\ninclude: ['*.jpg', '*.png']\n"
        "store:\n  region: eu-west-1\n  anonymous: true\ndecode:\n  orientation: apply\n",
    )
    settings = ["store.region=eu-north-1", "decode.max_image_pixels=1000"]
    config = tag_config(merge_settings({}, config_file=file, settings=settings))
    assert config.source == "s3://bucket"
    assert config.include == ("*.jpg", "*.png")
    assert (config.store.region, config.store.anonymous) == ("eu-north-1", True)
    assert (config.decode.orientation, config.decode.max_image_pixels) == ("apply", 1000)


def test_set_keeps_the_spelling_of_texts_and_reads_numbers():
    config = build("model=007", "store.region=true", "fetch_timeout_s=1e1", "gpus_per_tagger=2")
    assert (config.model, config.store.region) == ("007", "true")
    assert (config.fetch_timeout_s, config.gpus_per_tagger) == (10.0, 2.0)


def test_set_null_returns_to_the_default_of_nothing():
    assert build("top_k=null", flags={"top_k": 5}).top_k is None


def test_tags_are_a_list_or_a_file(tmp_path):
    file = write(tmp_path / "tags.txt", "cat\n\n  big dog \n")
    assert build("tags=cat, dog").tags == ("cat", "dog")
    assert build(flags={"tags": file}).tags == ("cat", "big dog")
    assert parse_tags("cat") == ("cat",)
    with pytest.raises(ConfigError, match=r"tags is 'no\.txt', but there is no such file"):
        parse_tags("no.txt")


def test_threshold_is_a_number_or_a_file_and_replaces_the_one_below(tmp_path):
    thresholds = write(tmp_path / "thresholds.txt", "0.5\n0.6\n")
    options = write(tmp_path / "run.yaml", "threshold: 0.4\n")
    config = build(flags={"threshold": thresholds}, config_file=options)
    assert (config.threshold, config.threshold_file) == (None, thresholds)
    config = build("threshold=0.7", flags={"threshold": thresholds}, config_file=options)
    assert (config.threshold, config.threshold_file) == (0.7, None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("thresold=1", r"no option thresold; did you mean threshold"),
        ("region=x", r"no option region; did you mean store\.region"),
        ("store.regio=x", r"no option store\.regio; did you mean store\.region"),
        ("store=x", r"store is a group of options; set one of them: store\.endpoint_url"),
        ("zzz=1", r"no option zzz; known: source, output"),
        ("shard_rows=abc", r"shard_rows is 'abc', but must be a whole number\."),
        ("shard_rows=1.5", r"shard_rows is 1\.5, but must be a whole number\."),
        ("shard_rows=true", r"shard_rows is True, but must be a whole number\."),
        ("top_k=few", r"top_k is 'few', but must be a whole number or null\."),
        ("precision=fp8", r"precision is 'fp8', but must be fp32 or bf16\."),
        ("store.anonymous=1", r"store\.anonymous is 1, but must be true or false\."),
        ("model=null", r"model is empty, but must be a text\."),
        ("threshold=2", r"threshold is 2\.0, but must be between 0 and 1\."),
        ("threshold=nope", r"threshold is 'nope', but must be a number between 0 and 1 or a file"),
        ("include=[1]", r"include is \[1\], but must be a list of texts\."),
        ("top_k", r"--set is 'top_k', but must be key=value\."),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(setting, message):
    with pytest.raises(ConfigError, match=message):
        build(setting)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"is not valid YAML: .*line 1"),
        ("- a\n- b\n", r"must hold `option: value` lines"),
        ("store:\n  regoin: x\n", r"no option store\.regoin; did you mean store\.region"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        build(config_file=write(tmp_path / "run.yaml", text))


def test_a_missing_file_and_a_missing_source_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.yaml cannot be read"):
        build(config_file=str(tmp_path / "missing.yaml"))
    with pytest.raises(ConfigError, match="source is missing"):
        tag_config(merge_settings({"output": "out"}))


def test_new_tags_have_settings_of_their_own() -> None:
    config = tag_config(
        {"source": "a", "output": "b", "tags": ("fox",), "descriptions": "d.json",
         "text_encoder": "clip", "open_set_threshold": "0.4"}
    )  # fmt: skip
    assert (config.descriptions, config.text_encoder) == ("d.json", "clip")
    assert config.open_set_threshold == 0.4
    with pytest.raises(
        ConfigError, match=r"open_set_threshold is 1\.5, but must be between 0 and 1"
    ):
        tag_config({"source": "a", "output": "b", "open_set_threshold": 1.5})


def test_what_was_not_given_is_not_called_none() -> None:
    with pytest.raises(ConfigError, match="labels is not given, but must be given, or else"):
        TrainConfig(data="in", output="out", vocabulary="tags.txt")
