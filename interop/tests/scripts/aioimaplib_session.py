"""A session with aioimaplib: one task waits with IDLE and is woken by what is delivered by SMTP, then fetches, flags, moves and
expunges, while another does the same to a mailbox of its own.

usage: aioimaplib_session.py HOST TLS_PORT SMTP_PORT USER PASSWORD
"""
import asyncio
import smtplib
import ssl
import sys

import aioimaplib

host, port, smtp_port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def deliver(subject):
    with smtplib.SMTP(host, int(smtp_port), timeout=10) as smtp:
        text = f"From: x@elsewhere.test\r\nTo: {user}\r\nSubject: {subject}\r\n\r\nGr\u00fc\u00dfe\r\n"
        smtp.sendmail("x@elsewhere.test", [user], text.encode())


async def connect():
    client = aioimaplib.IMAP4_SSL(host, int(port), timeout=20, ssl_context=context)
    await client.wait_hello_from_server()
    assert (await client.login(user, password)).result == "OK"
    return client


def ok(response):
    assert response.result == "OK", response
    return response.lines


async def pushed(client, wanted):
    """Waits with IDLE until the server has said that."""
    idle = await client.idle_start(timeout=60)
    heard = []
    while not any(wanted in line for line in heard):
        heard += await client.wait_server_push(20)
    client.idle_done()
    assert (await asyncio.wait_for(idle, 20)).result == "OK"


async def waits():
    client = await connect()
    for capability in ("IDLE", "MOVE", "UIDPLUS", "NAMESPACE"):
        assert client.has_capability(capability), capability
    ok(await client.create("Moved"))
    assert b"0 EXISTS" in ok(await client.select("INBOX"))
    for number in (1, 2):
        waiting = asyncio.ensure_future(pushed(client, b"%d EXISTS" % number))
        await asyncio.sleep(0.2)
        await asyncio.get_running_loop().run_in_executor(None, deliver, f"number {number}")
        await waiting
    lines = ok(await client.fetch("1:2", "(UID FLAGS BODY.PEEK[])"))
    text = b"".join(bytes(line) for line in lines)
    assert b"Subject: number 1" in text and b"Subject: number 2" in text, text
    assert "Gr\u00fc\u00dfe".encode() in text, text
    uids = ok(await client.uid_search("SUBJECT", '"number 2"', charset=None))[0].split()
    assert len(uids) == 1, uids
    uid = uids[0].decode()
    stored = ok(await client.uid("store", uid, "+FLAGS (\\Seen \\Flagged)"))
    assert any(b"\\Flagged" in line for line in stored), stored
    # Another session's change is pushed too.
    other = await connect()
    ok(await other.select("INBOX"))
    waiting = asyncio.ensure_future(pushed(client, b"1 FETCH"))
    await asyncio.sleep(0.2)
    ok(await other.store("1", "+FLAGS (\\Answered)"))
    await waiting
    ok(await client.uid("move", uid, "Moved"))
    waiting = asyncio.ensure_future(pushed(client, b"1 EXPUNGE"))
    await asyncio.sleep(0.2)
    ok(await other.store("1", "+FLAGS (\\Deleted)"))
    ok(await other.expunge())
    await waiting
    ok(await other.logout())
    assert b"0 EXISTS" in ok(await client.select("INBOX"))
    assert b"1 EXISTS" in ok(await client.select("Moved"))
    lines = ok(await client.fetch("1", "(FLAGS)"))
    assert b"\\Flagged" in lines[0] and b"\\Seen" in lines[0], lines
    ok(await client.close())
    ok(await client.logout())


async def appends():
    client = await connect()
    ok(await client.create("Own"))
    for number in range(20):
        text = f"From: x@elsewhere.test\r\nSubject: own {number}\r\n\r\ntext\r\n"
        ok(await client.append(text.encode(), "Own", flags="\\Seen"))
    ok(await client.select("Own"))
    for number in range(1, 11):
        ok(await client.store(str(number), "+FLAGS (\\Deleted)"))
    ok(await client.expunge())
    status = ok(await client.status("Own", "(MESSAGES UNSEEN)"))
    assert b"MESSAGES 10" in status[0] and b"UNSEEN 0" in status[0], status
    ok(await client.close())
    ok(await client.delete("Own"))
    ok(await client.logout())


async def both():
    await asyncio.gather(waits(), appends())


asyncio.run(asyncio.wait_for(both(), 90))
