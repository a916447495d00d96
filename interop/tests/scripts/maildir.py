"""maildir.py make|show PATH

Makes a tree of Maildirs with Python's mailbox module, or shows what one holds as imap_tree.py does, without what mailboxes are
for and whether they are subscribed to."""

import base64
import hashlib
import mailbox
import os
import re
import sys

what, path = sys.argv[1:]
LETTERS = {"S": "\\seen", "R": "\\answered", "F": "\\flagged", "T": "\\deleted", "D": "\\draft", "P": "$forwarded"}


def make():
    top = mailbox.Maildir(path, create=True)
    folders = [top, top.add_folder("Work.Projects"), top.add_folder("Entw&APw-rfe")]
    # What is above another is a mailbox itself on the other side.
    top.add_folder("Work")
    n = 0
    for folder in folders:
        for flags in ("", "S", "FS", "RT", "D", "P"):
            n += 1
            message = mailbox.MaildirMessage(
                f"From: dora@elsewhere.test\nSubject: number {n}\nMessage-ID: <{n}@elsewhere.test>\n\nFrom here\n.\ntext {n}\n".encode()
            )
            message.set_flags(flags)
            message.set_subdir("cur" if flags else "new")
            message.set_date(1_100_000_000 + n)
            folder.add(message)
    raw = b"Subject: caf\xe9 in Latin-1\nMessage-ID: <8bit@elsewhere.test>\r\n\nmixed\r\nline\nends"
    with open(os.path.join(path, "cur", "1200000000.raw.host:2,S"), "wb") as file:
        file.write(raw)
    os.utime(file.name, (1_200_000_000, 1_200_000_000))


def decoded(name):
    def part(match):
        text = match.group(1).replace(",", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-16-be") if text else "&"

    return "/".join(re.sub("&([^-]*)-", part, level) for level in name.split("."))


def show():
    top = mailbox.Maildir(path, create=False)
    names = ["INBOX"] + sorted(decoded(name) + "\0" + name for name in top.list_folders())
    for entry in names:
        shown, _, name = entry.partition("\0")
        folder = top.get_folder(name) if name else top
        where = os.path.join(path, "." + name) if name else path
        keywords = {}
        if os.path.exists(os.path.join(where, "dovecot-keywords")):
            for line in open(os.path.join(where, "dovecot-keywords")):
                number, keyword = line.rstrip("\n").split(" ", 1)
                keywords[chr(ord("a") + int(number))] = keyword.lower()
        lines = []
        for key, message in folder.iteritems():
            raw = folder.get_bytes(key)
            text = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
            flags = sorted({LETTERS.get(letter) or keywords[letter] for letter in message.get_flags()})
            subject = re.search(rb"(?im)^subject: *(.*?)\r?$", text)
            subject = subject.group(1).decode("latin-1") if subject else "-"
            digest = hashlib.sha256(text).hexdigest()[:16]
            lines.append((int(message.get_date()), f"  {subject} | {' '.join(flags)} | {int(message.get_date())} | {len(text)} {digest}"))
        if lines or shown not in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):
            print("mailbox", shown)
            for _, line in sorted(lines):
                print(line)


{"make": make, "show": show}[what]()
