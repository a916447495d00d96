"""Delivers a message by LMTP.

usage: lmtp_send.py HOST-OR-SOCKET PORT RECIPIENT
"""
import smtplib
import sys

host, port, to = sys.argv[1:]
with smtplib.LMTP(host, int(port)) as lmtp:
    refused = lmtp.sendmail("x@elsewhere.test", [to], "From: x@elsewhere.test\r\nSubject: by smtplib\r\n\r\nhello\r\n")
    assert not refused, refused
    try:
        lmtp.sendmail("x@elsewhere.test", ["nobody@interop.test"], "Subject: to nobody\r\n\r\n")
    except smtplib.SMTPRecipientsRefused as refusal:
        code, _ = refusal.recipients["nobody@interop.test"]
        assert code == 550, code
    else:
        raise AssertionError("nobody is no recipient")
