"""mbox_make.py FILE

Makes an mbox with Python's mailbox module, and prints what is in it as imap_tree.py does."""

import hashlib
import mailbox
import sys
import time

box = mailbox.mbox(sys.argv[1], create=True)
KNOWN = {"R": "\\seen", "A": "\\answered", "F": "\\flagged", "D": "\\deleted", "T": "\\draft"}
for n, flags in enumerate(["", "RO", "ROA", "OF", "RDT"]):
    text = f"From: dora@elsewhere.test\nSubject: box {n}\nMessage-ID: <box.{n}@elsewhere.test>\n\nFrom the start\n\nFrom a@b\n> From\ncaf\u00e9\n"
    message = mailbox.mboxMessage(text.encode("latin-1"))
    at = 1_300_000_000 + n
    message.set_from("dora@elsewhere.test", time.gmtime(at))
    message.set_flags(flags)
    box.add(message)
    raw = text.replace("\n", "\r\n").encode("latin-1")
    shown = sorted(KNOWN[flag] for flag in flags if flag in KNOWN)
    digest = hashlib.sha256(raw).hexdigest()[:16]
    print(f"  box {n} | {' '.join(shown)} | {at} | {len(raw)} {digest}")
box.flush()
box.close()
