"""Prints how many messages of INBOX have a subject.

usage: count.py HOST PORT USER PASSWORD SUBJECT
"""
import imaplib
import ssl
import sys

host, port, user, password, subject = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
imap.login(user, password)
status, _ = imap.select("INBOX", readonly=True)
assert status == "OK", status
status, numbers = imap.search(None, "SUBJECT", f'"{subject}"')
assert status == "OK", status
print(len(numbers[0].split()))
imap.logout()
