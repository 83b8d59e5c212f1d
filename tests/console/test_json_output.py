"""With `--json` nothing but one JSON value reaches standard output, whoever else writes there."""

import json
import subprocess
import sys

CODE = """
import os
from ram_ray.console.json_output import only_json, print_json
with only_json():
    print("a remark of Python's")
    os.write(1, b"a remark of C's\\n")
    print_json({"tag": "caf\\u00e9"})
    os.write(1, b"another\\n")
print("after")
"""


def test_remarks_of_others_go_to_standard_error() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    line, after = ran.stdout.decode().splitlines()
    assert json.loads(line) == {"tag": "café"}
    assert after == "after"
    assert ran.stderr.decode().split("\n")[:3] == [
        "a remark of Python's",
        "a remark of C's",
        "another",
    ]
