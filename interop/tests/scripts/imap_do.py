"""Does things to mailboxes with imaplib, one after the other, parted by `|`.

usage: imap_do.py HOST TLS_PORT USER PASSWORD COMMANDS
"""
import imaplib
import re
import ssl
import sys

host, port, user, password, commands = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
imap.login(user, password)


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


def find(mailbox, subject):
    ok(imap.select(mailbox))
    uids = ok(imap.uid("SEARCH", "SUBJECT", subject))[0].split()
    assert len(uids) == 1, (mailbox, subject, uids)
    return uids[0]


for command in commands.split("|"):
    verb, *arguments = command.split(" ")
    if verb == "create":
        ok(imap.create(arguments[0]))
    elif verb == "append":
        mailbox, subject = arguments
        imap.create(mailbox)
        text = f"From: x@elsewhere.test\r\nSubject: {subject}\r\nMessage-ID: <{subject}@y>\r\n\r\ntext\r\n"
        ok(imap.append(mailbox, None, None, text.encode()))
    elif verb in ("flag", "unflag"):
        mailbox, subject, flag = arguments
        ok(imap.uid("STORE", find(mailbox, subject), "+FLAGS" if verb == "flag" else "-FLAGS", f"({flag})"))
    elif verb == "remove":
        ok(imap.delete(arguments[0]))
    elif verb == "delete":
        mailbox, subject = arguments
        ok(imap.uid("STORE", find(mailbox, subject), "+FLAGS", "(\\Deleted)"))
        ok(imap.expunge())
    elif verb == "names":
        for line in ok(imap.list()):
            print(line.decode().split(' "/" ')[1].strip('"'))
    elif verb == "show":
        for line in ok(imap.list()):
            name = line.decode().split(' "/" ')[1].strip('"')
            if imap.select(f'"{name}"', readonly=True)[0] != "OK":
                continue
            for number in ok(imap.search(None, "ALL"))[0].split():
                parts = ok(imap.fetch(number, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
                said = b" ".join(p for part in parts for p in (part if isinstance(part, tuple) else [part])).decode()
                flags = re.search(r"FLAGS \(([^)]*)\)", said).group(1).split()
                subject = re.search(r"Subject: (\S*)", said).group(1)
                print(name, subject, " ".join(sorted(f for f in flags if f != "\\Recent")), sep="\t")
imap.logout()
