"""Logs in, marks everything to go, and holds the maildrop without QUIT; with a last argument only for a moment.

usage: pop3_hold.py HOST PORT USER PASSWORD [once]
"""
import poplib
import ssl
import sys
import time

host, port, user, password, *once = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
session = poplib.POP3_SSL(host, int(port), context=context, timeout=10)
session.user(user)
session.pass_(password)
count, _ = session.stat()
for number in range(1, count + 1):
    session.dele(number)
print("held", count, flush=True)
if not once:
    time.sleep(60)
