"""Prints each message of INBOX as "subject: flags".

usage: flags.py HOST PORT USER PASSWORD
"""
import imaplib
import ssl
import sys

host, port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
imap.login(user, password)
imap.select("INBOX", readonly=True)
for number in imap.search(None, "ALL")[1][0].split():
    parts = imap.fetch(number, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    subject = parts[0][1].decode().split(":", 1)[1].strip()
    flags = imaplib.ParseFlags(parts[0][0]) + imaplib.ParseFlags(parts[1])
    print(f"{subject}:", " ".join(sorted(flag.decode() for flag in flags if flag != b"\\Recent")))
imap.logout()
