"""Checks the signatures of the messages that smtp-sink wrote, with the keys of a zone file; dkimpy does it."""

import glob
import re
import sys

import dkim

folder = sys.argv[1]
keys = {}
for line in open(f"{folder}/zone"):
    name, _, kind, data, *_ = line.rstrip("\n").split("\t")
    if kind == "TXT":
        keys[name.encode()] = "".join(re.findall(r'"([^"]*)"', data)).encode()
for path in glob.glob(f"{folder}/mail.*"):
    message = open(path, "rb").read()
    if b"DKIM-Signature:" not in message:
        continue
    # What smtp-sink puts before it: its own lines, and a Received field.
    message = message[message.index(b"DKIM-Signature:"):].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    # smtp-sink ends each file with a line of its own.
    message = message.rstrip(b"\r\n") + b"\r\n"
    checker = dkim.DKIM(message)
    for index in range(message.count(b"DKIM-Signature:")):
        good = checker.verify(index, dnsfunc=lambda name, timeout=5: keys.get(name if isinstance(name, bytes) else name.encode()))
        print(checker.signature_fields[b"a"].decode(), good)
