"""imap_tree.py HOST PORT USER PASSWORD SEPARATOR PREFIX

Prints what an account holds, the same for each server that holds the same: a line a mailbox, with what it is for and whether
it is subscribed to, and below it a line a message. Default mailboxes that hold nothing are left out."""

import base64
import hashlib
import imaplib
import re
import ssl
import sys
import time

host, port, user, password, separator, prefix = sys.argv[1:]
imaplib._MAXLINE = 10_000_000
imap = imaplib.IMAP4(host, int(port))
imap.starttls(ssl._create_unverified_context())
imap.login(user, password)


def decoded(name):
    def part(match):
        text = match.group(1)
        if not text:
            return "&"
        text = text.replace(",", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-16-be")

    return re.sub("&([^-]*)-", part, name)


def names(data):
    for line in data:
        if line is None:
            continue
        if isinstance(line, tuple):
            line = line[0] + b'"' + line[1] + b'"'
        match = re.match(rb'\(([^)]*)\) ("[^"]*"|NIL) (.*)$', line)
        name = match.group(3).decode()
        if name.startswith('"'):
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        yield set(match.group(1).decode().lower().split()), name


subscribed = {name for _, name in names(imap.lsub('""', '"*"')[1])}
for attributes, name in sorted(names(imap.list('""', '"*"')[1]), key=lambda one: one[1]):
    if "\\noselect" in attributes or "\\nonexistent" in attributes or "\\all" in attributes:
        continue
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    status, count = imap.select(quoted, readonly=True)
    assert status == "OK", (name, count)
    if int(count[0]) == 0 and name.removeprefix(prefix) in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):
        continue
    shown = "INBOX" if name.upper() == "INBOX" else decoded(name.removeprefix(prefix)).replace(separator, "/")
    uses = sorted(attributes & {"\\sent", "\\trash", "\\drafts", "\\junk", "\\archive"})
    print("mailbox", shown, ",".join(uses) or "-", "subscribed" if name in subscribed else "-")
    if int(count[0]) == 0:
        continue
    status, data = imap.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    assert status == "OK", data
    messages = []
    for at, item in enumerate(data):
        if not isinstance(item, tuple):
            continue
        # What follows the literal belongs to the message too.
        text = (item[0] + (data[at + 1] if at + 1 < len(data) and isinstance(data[at + 1], bytes) else b"")).decode()
        flags = re.search(r"FLAGS \(([^)]*)\)", text).group(1).lower().split()
        flags = sorted(set(flags) - {"\\recent"})
        at = imaplib.Internaldate2tuple(('INTERNALDATE "' + re.search('INTERNALDATE "([^"]*)"', text).group(1) + '"').encode())
        stamp = int(time.mktime(at))
        subject = re.search(rb"(?im)^subject: *(.*?)\r?$", item[1])
        subject = subject.group(1).decode("latin-1") if subject else "-"
        digest = hashlib.sha256(item[1]).hexdigest()[:16]
        messages.append(f"  {subject} | {' '.join(flags)} | {stamp} | {len(item[1])} {digest}")
    print("\n".join(messages))
imap.logout()
