"""Turns the SPF test suite of pyspf's source package into JSON: one line a scenario."""

import json
import subprocess
import sys
import tarfile
import tempfile

import yaml

PACKAGE = "pyspf==2.0.14"


def records(entries):
    """A name's records, with the TXT records that SPF ones stand for."""
    made, plain = [], []
    has_txt = False
    for entry in entries:
        if not isinstance(entry, dict):
            plain.append([entry, ""])
            continue
        for kind, value in entry.items():
            if kind in ("TXT", "SPF"):
                value = value if isinstance(value, str) else "".join(value)
            if kind == "MX" and not isinstance(value, str):
                value = f"{value[0]} {value[1]}"
            if kind == "TXT":
                has_txt = True
            if kind == "SPF":
                made.append(["TXT", value])
            elif value != "NONE":
                plain.append([kind, value])
    return plain if has_txt else plain + made


with tempfile.TemporaryDirectory() as folder:
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder, PACKAGE]
    subprocess.run(fetch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(f"{folder}/pyspf-2.0.14.tar.gz") as package:
        suite = package.extractfile("pyspf-2.0.14/test/rfc7208-tests.yml").read()
for scenario in yaml.safe_load_all(suite):
    zone = {name.lower(): records(entries) for name, entries in scenario["zonedata"].items()}
    tests = [
        {
            "name": name,
            "helo": test["helo"],
            "host": test["host"],
            "from": test["mailfrom"],
            "results": test["result"] if isinstance(test["result"], list) else [test["result"]],
        }
        for name, test in scenario["tests"].items()
    ]
    print(json.dumps({"zone": zone, "tests": tests}))
