"""Sends and fetches mail of somebody whose name and domain are beyond ASCII.

usage: smtputf8.py HOST USER PASSWORD SPELLING...: a message to each spelling, then one from USER to carol@out.test
"""
import base64
import imaplib
import smtplib
import ssl
import sys

host, user, password, *spellings = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
secret = f"\0{user}\0{password}".encode()

with smtplib.SMTP(host, 2525) as smtp:
    smtp.ehlo("client.test")
    assert smtp.has_extn("smtputf8")
    for spelling in spellings:
        options = [] if spelling.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        message = "From: x@elsewhere.test\r\nSubject: Grüße\r\n\r\nhallo\r\n".encode()
        if spelling.isascii():
            message = b"From: x@elsewhere.test\r\nSubject: greetings\r\n\r\nhallo\r\n"
        refused = smtp.sendmail("x@elsewhere.test", [spelling], message, mail_options=options)
        assert not refused, refused
    # Without SMTPUTF8 such an address may not pass.
    smtp.command_encoding = "utf-8"
    code, said = smtp.docmd("MAIL", f"FROM:<{user}>")
    assert (code, said[:5]) == (550, b"5.6.7"), (code, said)
    smtp.docmd("MAIL", "FROM:<x@elsewhere.test>")
    code, said = smtp.docmd("RCPT", f"TO:<{user}>")
    assert (code, said[:5]) == (553, b"5.6.7"), (code, said)
    plain = next(spelling for spelling in spellings if spelling.isascii())
    code, said = smtp.docmd("RCPT", f"TO:<{plain}> ORCPT=utf-8;j\\x{{F6}}rg@x.test")
    assert code == 250, (code, said)

with smtplib.SMTP_SSL(host, 4650, context=context) as smtp:
    smtp.ehlo("client.test")
    code, said = smtp.docmd("AUTH", "PLAIN " + base64.b64encode(secret).decode())
    assert code == 235, (code, said)
    refused = smtp.sendmail(
        user,
        ["carol@out.test"],
        f"From: {user}\r\nSubject: Grüße\r\n\r\nhallo\r\n".encode(),
        mail_options=["SMTPUTF8", "BODY=8BITMIME"],
    )
    assert not refused, refused

imap = imaplib.IMAP4_SSL(host, 9930, ssl_context=context, timeout=10)
status, said = imap.authenticate("PLAIN", lambda _: secret)
assert status == "OK", said
status, numbers = imap.select("INBOX", readonly=True)
assert status == "OK" and int(numbers[0]) >= len(spellings), numbers
imap.logout()
