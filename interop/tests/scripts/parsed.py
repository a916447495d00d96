"""Prints each message of INBOX as Python's email package reads it, a line each: subject, text, and of each attachment its name,
length and SHA-256.

usage: parsed.py HOST TLS_PORT USER PASSWORD
"""
import email
import email.policy
import hashlib
import imaplib
import ssl
import sys

host, port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
imap.login(user, password)
_, count = imap.select("INBOX", readonly=True)
for number in range(1, int(count[0]) + 1):
    _, parts = imap.fetch(str(number), "(BODY.PEEK[])")
    message = email.message_from_bytes(parts[0][1], policy=email.policy.default)
    text = message.get_body(("plain",)).get_content().strip()
    fields = [str(message["Subject"]), text.replace("\r", "").replace("\n", "⏎")]
    for attachment in message.iter_attachments():
        content = attachment.get_content()
        fields += [attachment.get_filename(), str(len(content)), hashlib.sha256(content).hexdigest()]
    print("|".join(fields))
imap.logout()
