"""A session with IMAPClient: SORT, THREAD, LIST with special uses, QUOTA, BINARY, UTF-8 names; by STARTTLS and by TLS.

usage: imapclient_session.py HOST PLAIN_PORT TLS_PORT USER PASSWORD
"""
import ssl
import sys

import imapclient
from imapclient.imapclient import SENT, TRASH

host, plain_port, tls_port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE

plain = imapclient.IMAPClient(host, int(plain_port), ssl=False)
plain.starttls(context)
tls = imapclient.IMAPClient(host, int(tls_port), ssl_context=context)

for round, client in enumerate([plain, tls]):
    client.login(user, password)
    for capability in ("SORT", "THREAD=REFERENCES", "QUOTA", "BINARY", "PREVIEW", "COMPRESS=DEFLATE", "UTF8=ACCEPT"):
        assert client.has_capability(capability), client.capabilities()
    assert client.find_special_folder(SENT) == "Sent"
    assert client.find_special_folder(TRASH) == "Trash"
    name = f"Grüße {round}"
    client.create_folder(name)
    assert name in [folder for _, _, folder in client.list_folders()]
    client.subscribe_folder(name)
    assert name in [folder for _, _, folder in client.list_sub_folders()]
    for sender, subject, references in [
        ("zoe", "Re: lunch", "<a@x>"),
        ("adam", "lunch", ""),
        ("mia", "dinner", ""),
    ]:
        identity = "<a@x>" if subject == "lunch" else f"<{sender}@x>"
        client.append(
            name,
            f"From: {sender}@x\r\nSubject: {subject}\r\nMessage-ID: {identity}\r\nReferences: {references}\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8sIHdvcmxk\r\n".encode(),
        )
    assert client.select_folder(name)[b"EXISTS"] == 3
    assert list(client.sort("FROM")) == [2, 3, 1]
    assert list(client.sort(["REVERSE FROM"])) == [1, 3, 2]
    assert list(client.sort("SUBJECT", ["FROM", "x"])) == [3, 1, 2]
    assert client.thread() == ((2, 1), (3,)), client.thread()
    assert client.thread("ORDEREDSUBJECT") == ((1, 2), (3,)), client.thread("ORDEREDSUBJECT")
    fetched = client.fetch([1], ["BINARY.SIZE[1]", "PREVIEW", "RFC822.SIZE"])[1]
    assert fetched[b"BINARY.SIZE[1]"] == 12, fetched
    assert fetched[b"PREVIEW"] == b"Hello, world", fetched
    status = client.folder_status(name, ["MESSAGES", "UNSEEN", "DELETED"])
    assert status == {b"MESSAGES": 3, b"UNSEEN": 3, b"DELETED": 0}, status
    roots, quotas = client.get_quota_root("INBOX")
    assert roots.quota_roots == [""], roots
    client.add_flags([3], [imapclient.DELETED])
    client.expunge()
    client.move([1], "Archive")
    assert client.search() == [2]
    client.unselect_folder()
    client.delete_folder(name)
    client.logout()
