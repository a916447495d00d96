"""Fetches the newest message of INBOX over IMAPS and writes its WAV attachment to a file.

usage: voicemail.py HOST PORT USER PASSWORD FILE
"""
import email
import email.policy
import imaplib
import ssl
import sys

host, port, user, password, path = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=10)
imap.login(user, password)
status, count = imap.select("INBOX", readonly=True)
assert status == "OK" and int(count[0]) >= 1, (status, count)
status, parts = imap.fetch(count[0], "(FLAGS BODY.PEEK[])")
assert status == "OK", status
message = email.message_from_bytes(parts[0][1], policy=email.policy.default)
print("Subject:", message["Subject"])
assert message["Message-Context"] == "voice-message", message.items()
recordings = [part for part in message.iter_attachments() if part.get_content_maintype() == "audio"]
assert len(recordings) == 1, message.as_string()[:2000]
with open(path, "wb") as file:
    file.write(recordings[0].get_content())
imap.logout()
