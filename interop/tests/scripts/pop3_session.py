"""poplib against the server: TLS, the maildrop's lock, sizes and bytes, DELE with and without QUIT.

usage: pop3_session.py HOST PORT TLS_PORT USER PASSWORD FOLDER   FOLDER has what pop3_fill.py put there
"""
import os
import poplib
import ssl
import sys

host, port, tls_port, user, password, folder = sys.argv[1:]
poplib._MAXLINE = 10000
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
names = ["dots", "bare", "unfinished", "empty", "eight", "long"]


def refused(code, call, *arguments):
    try:
        call(*arguments)
    except poplib.error_proto as error:
        assert code in str(error), error
    else:
        raise AssertionError(f"{call} {arguments} was not refused")


def secure():
    return poplib.POP3_SSL(host, int(tls_port), context=context, timeout=10)


def log_in(session):
    session.user(user)
    session.pass_(password)
    return session


# Nothing goes in the clear.
session = poplib.POP3(host, int(port), timeout=10)
assert b"<" not in session.getwelcome()
capabilities = session.capa()
assert "STLS" in capabilities and "USER" not in capabilities and "SASL" not in capabilities, capabilities
refused("STLS", session.user, user)
refused("", session.stat)
session.stls(context)
capabilities = session.capa()
assert "USER" in capabilities and "STLS" not in capabilities, capabilities
assert capabilities["SASL"] == ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], capabilities
assert capabilities["EXPIRE"] == ["NEVER"] and "LOGIN-DELAY" not in capabilities, capabilities
session.user(user)
refused("[AUTH]", session.pass_, "wrong")
log_in(session)
assert session.capa() == capabilities

# Sizes, bytes, names.
count, total = session.stat()
listing = [line.split() for line in session.list()[1]]
assert count == len(listing) == len(names)
assert total == sum(int(size) for _, size in listing)
uids = [line.split()[1] for line in session.uidl()[1]]
assert len(set(uids)) == count and all(len(uid) <= 70 for uid in uids)
assert session.uidl(2).split() == [b"+OK", b"2", uids[1]]
for number, name in enumerate(names, 1):
    with open(os.path.join(folder, name), "rb") as file:
        sent = file.read()
    answer, lines, octets = session.retr(number)
    got = b"".join(line + b"\r\n" for line in lines)
    assert got == sent, (name, got[:300], sent[:300])
    assert int(listing[number - 1][1]) == len(sent) == octets, (name, listing[number - 1], len(sent), octets)
    header = sent[: sent.index(b"\r\n\r\n") + 4]
    answer, lines, octets = session.top(number, 0)
    assert b"".join(line + b"\r\n" for line in lines) == header, lines
answer, lines, octets = session.top(1, 2)
assert lines[-2:] == [b".", b".."], lines

# One session at a time.
second = secure()
second.user(user)
refused("[IN-USE]", second.pass_, password)

# What is marked is there no more, and is back when the connection drops.
session.dele(1)
refused("", session.retr, 1)
refused("", session.list, 1)
assert session.stat()[0] == count - 1
session.rset()
assert session.stat() == (count, total)
session.dele(1)
session.dele(2)
session.close()
session = log_in(second)
assert session.stat() == (count, total)
assert [line.split()[1] for line in session.uidl()[1]] == uids

# With QUIT it goes.
session.dele(2)
session.dele(6)
assert session.quit().startswith(b"+OK")
session = secure()
assert session.utf8().startswith(b"+OK")
log_in(session)
left = [line.split()[1] for line in session.uidl()[1]]
assert left == uids[:1] + uids[2:5], (left, uids)
session.quit()
