"""A session of IMAP4rev2 with imaplib: names in UTF-8, LIST with SELECT, ESEARCH for every search, MOVE with its COPYUID.

usage: imap_rev2.py HOST TLS_PORT USER PASSWORD
"""
import imaplib
import ssl
import sys

host, port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imaplib.Commands.setdefault("MOVE", ("SELECTED",))

client = imaplib.IMAP4_SSL(host, int(port), ssl_context=context)
client.login(user, password)
assert "IMAP4REV2" in client.capabilities, client.capabilities
kind, said = client.enable("IMAP4rev2")
assert kind == "OK", said
client._mode_utf8()


def heard(name):
    return [line.decode() for line in client.response(name)[1] if line is not None]


def done(outcome):
    assert outcome[0] == "OK", outcome
    return outcome[1]


done(client.create('"Entwürfe"'))
listed = [line.decode() for line in done(client.list('""', '"Ent*"'))]
assert listed == ['(\\HasNoChildren) "/" "Entwürfe"'], listed
for subject in ("eins", "zwei", "drei"):
    message = f"From: x@elsewhere.test\r\nSubject: {subject} für Grüße\r\n\r\ntext\r\n"
    done(client.append("INBOX", None, None, message.encode()))

client.untagged_responses.clear()
assert done(client.select("INBOX")) == [b"3"]
assert heard("LIST") == ['(\\HasNoChildren \\Subscribed) "/" INBOX'], client.untagged_responses
assert heard("RECENT") == [] and heard("UNSEEN") == []
permanent = heard("PERMANENTFLAGS")[0]
for keyword in ("$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "\\*"):
    assert keyword in permanent, permanent

assert done(client.search(None, "ALL")) == [None], "there is no SEARCH response any more"
assert heard("ESEARCH")[0].endswith(" ALL 1:3")
done(client.uid("SEARCH", "SUBJECT", '"für grüße"'))
assert heard("ESEARCH")[0].endswith(" UID ALL 1:3")
done(client.search(None, "SUBJECT", "nirgends"))
assert " ALL" not in heard("ESEARCH")[0]

done(client.store("1", "+FLAGS", "($Forwarded)"))
done(client.search(None, "KEYWORD", "$Forwarded"))
assert heard("ESEARCH")[0].endswith(" ALL 1")
client.untagged_responses.clear()
done(client._simple_command("MOVE", "1", '"Entwürfe"'))
assert heard("COPYUID") and heard("EXPUNGE") == ["1"], client.untagged_responses
status = done(client.status('"Entwürfe"', "(MESSAGES DELETED SIZE)"))[0].decode()
assert status.startswith('"Entwürfe" (MESSAGES 1 DELETED 0 SIZE '), status

# Two programs that spell a name differently have the same mailbox, and the second is told.
client.untagged_responses.clear()
assert done(client.select('"Entwu\u0308rfe"')) == [b"1"]
assert heard("LIST") == ['(\\HasNoChildren) "/" "Entwürfe" ("OLDNAME" ("Entwu\u0308rfe"))']
envelope = done(client.fetch("1", "(FLAGS ENVELOPE)"))[0].decode()
assert '"eins für Grüße"' in envelope and "$Forwarded" in envelope and "\\Recent" not in envelope, envelope
client.logout()
print("the second revision holds")
