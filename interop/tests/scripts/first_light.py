"""first_light.py fill|many|show HOST IMAP_PORT POP3_PORT SMTP_PORT USER PASSWORD

Fills an account as its owner and others do, or with many short messages, or shows all of it that must stay as it is: UIDVALIDITY, UIDs, flags, dates, bytes,
envelopes, subscriptions. What POP3 tells is held against it."""

import hashlib
import imaplib
import poplib
import re
import smtplib
import ssl
import sys

what, host, imap_port, pop3_port, smtp_port, user, password = sys.argv[1:]
imaplib._MAXLINE = 10_000_000
unverified = ssl._create_unverified_context()


def signed_in():
    imap = imaplib.IMAP4(host, int(imap_port))
    imap.starttls(unverified)
    imap.login(user, password)
    return imap


def fill():
    smtp = smtplib.SMTP(host, int(smtp_port))
    long = "".join(f"X-Long-{n}: {'value ' * 12}\r\n" for n in range(40))
    for n, (more, text) in enumerate(
        [
            ("", "plain\r\n"),
            (long, "with a long header\r\n"),
            ("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n", "--x\r\n\r\none\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--x--\r\n"),
            ("", "a large one\r\n" * 20_000),
            ("", "to be expunged\r\n"),
            ("", "to be read\r\n"),
        ]
    ):
        message = f"From: Dora <dora@elsewhere.test>\r\nTo: <{user}>\r\nSubject: =?utf-8?q?n=C2=B0_{n}?=\r\nMessage-ID: <{n}@elsewhere.test>\r\nDate: Mon, 23 Nov 2026 10:0{n}:00 +0100\r\nReferences: <a@x> <b@x>\r\n{more}\r\n{text}"
        smtp.sendmail("dora@elsewhere.test", [user], message)
    smtp.quit()
    imap = signed_in()

    def do(answer):
        status, said = answer
        assert status == "OK", said

    do(imap.create("Work"))
    do(imap.create("Work/Gr&APYA3w-e"))
    do(imap.subscribe("Work/Gr&APYA3w-e"))
    do(imap.create("gone"))
    for name, flags, date, text in [
        ("Work", "(\\Seen)", '" 1-Feb-2001 10:00:00 +0100"', b"Subject: appended\r\n\r\ntext\r\n"),
        ("Work/Gr&APYA3w-e", "(\\Draft todo)", '"29-Feb-2024 23:59:59 -0800"', b"Subject: caf\xe9\r\n\r\nLatin-1\r\n"),
        ("Work", "()", '" 2-Feb-2001 10:00:00 +0000"', b"Subject: bare\n\nline\nends\n"),
        ("INBOX", "()", '" 3-Feb-2001 10:00:00 +0000"', b"Subject: bare too\n\nline\nends\n"),
        ("gone", "()", '" 3-Feb-2001 10:00:00 +0000"', b"Subject: gone\r\n\r\n"),
    ]:
        # As it is: imaplib's own append ends all lines with CRLF.
        imap.literal = text
        do(imap._simple_command("APPEND", name, flags, date))
    do(imap.select("INBOX"))
    subjects = imap.uid("SEARCH", None, 'SUBJECT "n"')[1][0].split()
    do(imap.uid("STORE", subjects[0], "+FLAGS", "(\\Seen \\Answered $Forwarded)"))
    do(imap.uid("STORE", subjects[1], "+FLAGS", "(\\Flagged todo $Label1)"))
    do(imap.uid("STORE", subjects[4], "+FLAGS", "(\\Deleted)"))
    do(imap.expunge())
    do(imap.uid("COPY", subjects[3], "Work"))
    do(imap.uid("COPY", subjects[2], "Archive"))
    do(imap.delete("gone"))
    imap.logout()


def many():
    imap = signed_in()
    imap.create("Many")
    for n in range(300):
        text = f"Subject: {n}\r\n\r\n{'x' * (n % 13)}\r\n".encode()
        assert imap.append("Many", "(\\Seen)" if n % 3 else "(todo)", '" 3-Feb-2001 10:00:00 +0000"', text)[0] == "OK"
    imap.select("Many")
    for which, change, flags in [
        ("7:90", "+FLAGS", "(\\Flagged $Label1)"),
        ("130", "FLAGS", "(\\Answered)"),
        ("200:210", "-FLAGS", "(todo)"),
        ("1,128,256,299", "+FLAGS", "(\\Deleted)"),
    ]:
        assert imap.store(which, change, flags)[0] == "OK"
    imap.expunge()
    assert imap.copy("100:200", "INBOX")[0] == "OK"
    imap.logout()


def show():
    imap = signed_in()
    subscribed = {line.split(b'"/" ')[1] for line in imap.lsub('""', "*")[1]}
    inbox = []
    for line in sorted(imap.list('""', "*")[1]):
        attributes, name = re.match(rb'\((.*)\) "/" (.*)$', line).groups()
        if b"\\noselect" in attributes.lower():
            continue
        uses = re.findall(rb"\\(?:Sent|Drafts|Trash|Junk|Archive)", attributes)
        count = int(imap.select(name.decode(), readonly=True)[1][0])
        validity, following = imap.response("UIDVALIDITY")[1][0], imap.response("UIDNEXT")[1][0]
        print(name.decode(), b" ".join(uses).decode(), name in subscribed, validity.decode(), following.decode())
        if count == 0:
            continue
        data = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[])")[1]
        for item in data:
            if not isinstance(item, tuple):
                continue
            head, body = item
            uid, flags, date, size = re.search(rb'UID (\d+) FLAGS \((.*?)\) INTERNALDATE "(.*?)" RFC822.SIZE (\d+)', head).groups()
            assert int(size) == len(body)
            envelope = re.search(rb"ENVELOPE (.*) BODY\[\]", head).group(1)
            flags = b" ".join(sorted(set(flags.split()) - {b"\\Recent"}))
            digest = hashlib.sha256(body).hexdigest()[:16]
            print(" ", uid.decode(), flags.decode(), date.decode(), len(body), digest, hashlib.sha256(envelope).hexdigest()[:16])
            if name == b"INBOX":
                inbox.append(re.sub(rb"(?<!\r)\n", b"\r\n", body))
    imap.logout()
    if pop3_port == "0":
        return
    pop3 = poplib.POP3(host, int(pop3_port))
    pop3.stls(unverified)
    pop3.user(user)
    pop3.pass_(password)
    sizes = [int(line.split()[1]) for line in pop3.list()[1]]
    for number, body in enumerate(inbox, 1):
        lines = pop3.top(str(number), "1000000")[1]
        fetched = b"".join(line + b"\r\n" for line in lines)
        assert fetched.rstrip() == body.rstrip(), (fetched[-80:], body[-80:])
        assert sizes[number - 1] == len(body), (number, sizes[number - 1], len(body))
    pop3.rset()
    pop3.quit()


{"fill": fill, "many": many, "show": show}[what]()
