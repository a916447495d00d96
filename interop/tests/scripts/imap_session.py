"""A whole session with imaplib: every command of IMAP4rev1's core, each result looked at.

usage: imap_session.py HOST PLAIN_PORT TLS_PORT USER PASSWORD
"""
import imaplib
import re
import socket
import ssl
import sys
import threading
import time

host, plain_port, tls_port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


def refused(call, *arguments):
    try:
        status, data = call(*arguments)
    except imaplib.IMAP4.error:
        return
    assert status != "OK", (arguments, status, data)


# The plain port takes no password before STARTTLS.
imap = imaplib.IMAP4(host, int(plain_port), timeout=10)
assert "LOGINDISABLED" in imap.capabilities, imap.capabilities
refused(imap.login, user, password)
ok(imap.starttls(ssl_context=context))
assert "LOGINDISABLED" not in imap.capabilities, imap.capabilities
refused(imap.login, user, "wrong")
ok(imap.login(user, password))

# AUTHENTICATE PLAIN, under TLS from the start.
other = imaplib.IMAP4_SSL(host, int(tls_port), ssl_context=context, timeout=10)
ok(other.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode()))

# Mailboxes.
ok(imap.create("Work/Letters"))
refused(imap.create, "INBOX")
names = b"\n".join(ok(imap.list())).decode()
assert "INBOX" in names and "Work/Letters" in names, names
for special in ("\\Sent", "\\Drafts", "\\Trash", "\\Junk"):
    assert special in names, names
ok(imap.subscribe("Work/Letters"))
assert b"Work/Letters" in b"".join(ok(imap.lsub())), "subscribed"
ok(imap.rename("Work/Letters", "Work/Post"))
ok(imap.create("&AMQ-pfel"))
assert "&AMQ-pfel" in b"".join(ok(imap.list())).decode()
ok(imap.delete("&AMQ-pfel"))

# APPEND, with flags and a date.
message = (
    b"From: \"A. Sender\" <a@elsewhere.test>\r\nTo: b@interop.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Tue, 01 Jul 2025 10:00:00 +0200\r\nMessage-ID: <1@elsewhere.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"Hello there\r\n--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"AAECAw==\r\n--x--\r\n"
)
date = imaplib.Time2Internaldate(1_700_000_000)
ok(imap.append("INBOX", "(\\Flagged)", date, message))
for n in range(3):
    ok(imap.append("INBOX", None, None, b"Subject: plain %d\r\n\r\nbody %d\r\n" % (n, n)))
# RFC 3501 6.3.11: the client is told that it may make the mailbox.
status, data = imap.append("No/Such", None, None, message)
assert status == "NO" and data[0].startswith(b"[TRYCREATE]"), (status, data)

# SELECT and FETCH.
assert ok(imap.select("INBOX")) == [b"4"]
parts = ok(imap.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
line = parts[0].decode()
assert "\\Flagged" in line and f"RFC822.SIZE {len(message)}" in line, line
assert "a.pdf" in line.lower() and "multipart" not in line.lower() and "mixed" in line.lower(), line
assert "elsewhere.test" in line and "<1@elsewhere.test>" in line, line
assert imaplib.Internaldate2tuple(parts[0]) == time.localtime(1_700_000_000), line
whole = ok(imap.fetch("1", "(BODY.PEEK[])"))[0][1]
assert whole == message, whole
assert ok(imap.fetch("1", "(BODY.PEEK[1])"))[0][1] == b"Hello there"
assert ok(imap.fetch("1", "(BODY.PEEK[2.MIME])"))[0][1].startswith(b"Content-Type: application/pdf")
assert ok(imap.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1].startswith(b"Subject: =?utf-8")
assert ok(imap.fetch("1", "(BODY.PEEK[]<5.6>)"))[0][1] == message[5:11]
assert b"\\Seen" not in b"".join(ok(imap.fetch("1", "(FLAGS)")))
ok(imap.fetch("1", "(BODY[TEXT])"))
assert b"\\Seen" in b"".join(ok(imap.fetch("1", "(FLAGS)"))), "BODY[] without PEEK sets the flag"

# SEARCH.
for criteria, found in [
    (("FLAGGED",), b"1"),
    (("UNSEEN",), b"2 3 4"),
    (("SUBJECT", '"plain 1"'), b"3"),
    (("BODY", '"body 2"'), b"4"),
    (("OR", "SUBJECT", '"plain 0"', "FROM", '"elsewhere"'), b"1 2"),
    (("NOT", "FLAGGED", "2:*"), b"2 3 4"),
    (("LARGER", "200"), b"1"),
    (("HEADER", "Message-ID", '"1@elsewhere"'), b"1"),
    (("SENTON", "1-Jul-2025"), b"1"),
    (("BEFORE", "1-Jan-2024"), b"1"),
]:
    assert ok(imap.search(None, *criteria)) == [found], criteria
assert ok(imap.search("UTF-8", "SUBJECT", '"plain"')) == [b"2 3 4"]
# RFC 3501 6.4.4.
status, data = imap.search("NO-SUCH-CHARSET", "ALL")
assert status == "NO" and data[0].startswith(b"[BADCHARSET"), (status, data)

# STORE, COPY, UID forms, another session's news.
assert ok(other.select("INBOX")) == [b"4"]
ok(imap.store("2:3", "+FLAGS", "(\\Deleted $Own)"))
ok(imap.uid("STORE", "1:*", "-FLAGS", "(\\Flagged)"))
ok(imap.copy("4", "Work/Post"))
line = ok(imap.status("Work/Post", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0]
assert b"MESSAGES 1" in line and b"UNSEEN 1" in line and b"UIDNEXT 2" in line, line
ok(other.noop())
assert any(b"$Own" in line for line in other.response("FETCH")[1]), "the other session hears of flags"
# Two messages go, 2 and 3. RFC 3501 7.4.1: each number counts what is left by then, so that it is 2 and 2 from the
# front, or 3 and 2 from the back; never 2 and 3.
both_gone = ([b"2", b"2"], [b"3", b"2"])
gone = ok(imap.expunge())
assert gone in both_gone, gone
ok(other.noop())
gone = other.response("EXPUNGE")[1]
assert gone in both_gone, gone
assert ok(imap.search(None, "ALL")) == [b"1 2"]
for session in (imap, other):
    left = [part[1].strip() for part in ok(session.fetch("1:2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")) if len(part) == 2]
    assert left[0].startswith(b"Subject: =?utf-8") and left[1] == b"Subject: plain 2", left

# IDLE in the other session hears of an APPEND.
tag = other._new_tag()
other.send(tag + b" IDLE\r\n")
assert other.readline().startswith(b"+"), "it may idle"
ok(imap.append("INBOX", None, None, b"Subject: news\r\n\r\n"))
# It is told without being asked; RECENT may come before it.
while not re.match(rb"\* 3 EXISTS", line := other.readline()):
    assert line.startswith(b"* "), line
other.send(b"DONE\r\n")
while not (line := other.readline()).startswith(tag):
    pass
assert b"OK" in line, line

# EXAMINE changes nothing; CLOSE expunges; LOGOUT says good-bye.
ok(imap.select("INBOX", readonly=True))
refused(imap.store, "1", "+FLAGS", "(\\Deleted)")
ok(imap.fetch("3", "(BODY[TEXT])"))
flags = b"".join(ok(imap.fetch("1,3", "(FLAGS)")))
assert b"\\Deleted" not in flags, flags
ok(imap.select("INBOX"))
flags = b"".join(ok(imap.fetch("3", "(FLAGS)")))
assert b"\\Seen" not in flags, flags
ok(imap.store("1", "+FLAGS", "(\\Deleted)"))
ok(imap.close())
assert ok(imap.select("INBOX")) == [b"2"]
assert imap.logout()[0] == "BYE" and other.logout()[0] == "BYE"
print("all good")
