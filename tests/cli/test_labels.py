import json
from pathlib import Path

import pytest

from ram_ray.cli.app import app
from tests.labels.builder.sources import write_captions, write_list


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        app(["labels", *arguments], prog_name="ram-ray")
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_build_from_flags_and_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    things = write_list(tmp_path, "things", "sofa,couch", "\u72ac")
    looks = write_list(tmp_path, "looks", "gray")
    settings = tmp_path / "labels.yaml"
    settings.write_text(f"min_frequency: 3\nlists: [{{path: {looks}, kind: attribute}}]\n")
    out = str(tmp_path / "out")
    captions = write_captions(tmp_path)
    code, text, _ = run(
        capsys, "build", out, "--captions", captions, "--config", str(settings), "--json"
    )
    report = json.loads(text)
    assert code == 0
    assert [row["list"] for row in report["coverage"]] == ["looks"]
    code, text, problems = run(
        capsys, "build", out, "--captions", captions, "--list", f"{things},kind=object,name=mine"
    )
    assert code == 0
    assert "mine" in text
    assert f"{things}:2: holds" in problems.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "captions and lists is"),
        (("--list", "nowhere.txt"), "nowhere.txt"),
        (("--list", "a.txt,colour=red"), "colour"),
        (("--list", "a.txt,kind"), "is not `setting=value`"),
        (("--list", "a.txt,kind=thing"), "list.kind is 'thing'"),
        (("--list", "a.txt", "--max-tags", "0"), "max_tags is 0"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run(capsys, "build", str(tmp_path / "out"), *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_convert_and_overlay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_list(tmp_path, "tags", "dog", "beach")
    (tmp_path / "t.txt").write_text("0.5\n0.75\n")
    made = str(tmp_path / "made.parquet")
    code, text, _ = run(capsys, "overlay", names, made, "--thresholds", str(tmp_path / "t.txt"))
    assert (code, text) == (0, f"{made}: 2 tags\n")
    code, text, _ = run(capsys, "convert", made, str(tmp_path / "made.json"))
    assert (code, text) == (0, f"{tmp_path / 'made.json'}: 2 tags\n")
    rows = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["kind"], row["threshold"]) for row in rows] == [
        ("dog", "object", 0.5),
        ("beach", "scene", 0.75),
    ]
