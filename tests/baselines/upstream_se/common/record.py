"""What the fakes were called with: one JSON line a call, for the test to read."""

import json
import os
from pathlib import Path


def record(call, **arguments):
    with Path(os.environ["RECORD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([call, arguments]) + "\n")
