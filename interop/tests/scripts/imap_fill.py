"""imap_fill.py HOST PORT USER PASSWORD SEPARATOR PREFIX

Fills an account: a nested tree, odd names, flags, keywords, old dates, large messages, 8 bits, messages that are alike."""

import imaplib
import sys
import time

host, port, user, password, separator, prefix = sys.argv[1:]
imap = imaplib.IMAP4(host, int(port))
imap.login(user, password)


def wire(levels):
    return '"' + (prefix + separator.join(levels)).replace("\\", "\\\\").replace('"', '\\"') + '"'


def message(subject, body, more=""):
    text = (
        f"From: dora@elsewhere.test\r\nTo: carol@elsewhere.test\r\nSubject: {subject}\r\n"
        f"Date: Thu, 01 Feb 2024 10:00:00 +0100\r\nMessage-ID: <{subject.replace(' ', '.')}@elsewhere.test>\r\n{more}\r\n{body}"
    )
    return text.encode("latin-1")


def append(mailbox, flags, at, text):
    status, said = imap.append(mailbox, flags, imaplib.Time2Internaldate(at), text)
    assert status == "OK", said


# Gr\u00f6\u00dfe in modified UTF-7, and an ampersand.
trees = [
    ["Work"],
    ["Work", "Projects"],
    ["Work", "Projects", "Gr&APYA3w-e"],
    ["Work", "R&-D"],
    ["two words"],
    ["Gesendet"],
    ["Everything"],
]
for levels in trees:
    status, said = imap.create(wire(levels))
    assert status == "OK" or b"EXISTS" in said[0].upper(), said
assert imap.subscribe("INBOX")[0] == "OK"
for levels in (["Work", "Projects"], ["two words"], ["Gesendet"]):
    assert imap.subscribe(wire(levels))[0] == "OK"

start = 1_000_000_000
append("INBOX", "", start, message("unread", "hello\r\n"))
append("INBOX", "(\\Seen)", start + 1, message("read", "hello\r\n"))
append("INBOX", "(\\Seen \\Answered \\Flagged $Forwarded)", start + 2, message("answered", "hello\r\n"))
append("INBOX", "(\\Deleted work $Label1)", start + 3, message("deleted", "hello\r\n"))
append("INBOX", "(\\Draft)", start + 4, message("draft", "hello\r\n"))
append("INBOX", "", start + 5, message("8 bits", "caf\xe9\r\n", "X-Note: na\xefve\r\n"))
append("INBOX", "", start + 6, b"Subject: nothing else\r\n\r\n")
append("INBOX", "", start + 6, b"Subject: nothing else\r\n\r\n")
append("INBOX", "", start + 7, b"\r\nno header at all\r\n")
append("INBOX", "", start + 8, message("large", "0123456789abcdef\r\n" * 150_000))
append("INBOX", "", start + 9, message("ends in {5}", "{7}\r\n) a1 OK\r\n* BYE\r\n{99}"))
for n in range(300):
    append(wire(["Work", "Projects"]), "(\\Seen)" if n % 3 else "", start + 60 * n, message(f"one of many {n}", "x\r\n" * n))
append(wire(["Work", "Projects", "Gr&APYA3w-e"]), "(\\Flagged)", start + 10, message("deep", "down\r\n"))
append(wire(["Gesendet"]), "(\\Seen)", start + 11, message("sent", "away\r\n"))
append(wire(["Everything"]), "", start + 12, message("a view", "of what is elsewhere\r\n"))
imap.logout()
