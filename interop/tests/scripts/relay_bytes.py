"""Gives a server a file as a message of eight bits, with nothing done to it but the dots.

usage: relay_bytes.py HOST PORT FILE FROM TO...
"""
import smtplib
import sys

host, port, file, sender, *recipients = sys.argv[1:]
with open(file, "rb") as message, smtplib.SMTP(host, int(port), timeout=30) as smtp:
    smtp.ehlo("client.test")
    assert smtp.has_extn("8bitmime")
    refused = smtp.sendmail(sender, recipients, message.read(), mail_options=["BODY=8BITMIME"])
    assert not refused, refused
