"""Puts messages that are awkward for POP3 into INBOX over IMAPS, as they are, or shows what is there.

usage: pop3_fill.py fill HOST PORT USER PASSWORD FOLDER   writes each message to FOLDER too, as POP3 must bring it
       pop3_fill.py show HOST PORT USER PASSWORD          a line for each message: its subject and its flags
"""
import email
import imaplib
import re
import ssl
import sys

# imaplib would end every line with CRLF by itself.
imaplib.MapCRLF = re.compile(b"(?!)")


def message(subject, body):
    head = b"From: <x@elsewhere.test>\r\nTo: <bob@interop.test>\r\nSubject: " + subject + b"\r\n"
    return head + b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <" + subject + b"@elsewhere.test>\r\n\r\n" + body


MESSAGES = [
    (b"dots", b".\r\n..\r\n.x\r\n...\r\nend\r\n"),
    (b"bare", b"one\ntwo\n.three\r\n\nfour\n"),
    (b"unfinished", b"no end of the line"),
    (b"empty", b""),
    (b"eight", "Gr\u00fc\u00dfe\r\n".encode() * 50 + b"y" * 3000 + b"\r\n"),
    (b"long", b"0123456789" * 20 + b"\r\n" + b"line of text\r\n" * 20000),
]


def lines_ended(data):
    data = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return data if data.endswith(b"\n") or not data else data + b"\r\n"


def main():
    what, host, port, user, password, *rest = sys.argv[1:]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
    imap.login(user, password)
    if what == "fill":
        for subject, body in MESSAGES:
            text = message(subject, body)
            status, said = imap.append("INBOX", None, None, text)
            assert status == "OK", said
            with open(f"{rest[0]}/{subject.decode()}", "wb") as file:
                file.write(lines_ended(text))
    else:
        status, count = imap.select("INBOX", readonly=True)
        parts = []
        if int(count[0]) > 0:
            status, parts = imap.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for part in parts:
            if isinstance(part, tuple):
                flags = b" ".join(sorted(set(imaplib.ParseFlags(part[0])) - {b"\\Recent"})).decode()
                print(f"{email.message_from_bytes(part[1])['Subject']}:{flags}")
    imap.logout()


if __name__ == "__main__":
    main()
