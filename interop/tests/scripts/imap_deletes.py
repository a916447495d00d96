"""Two sessions with imaplib delete at once: who looks at a mailbox that the other deletes is told goodbye, whatever it deletes itself,
and who deletes what it looks at goes on.

usage: imap_deletes.py HOST TLS_PORT USER PASSWORD
"""
import imaplib
import ssl
import sys
import threading

host, port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def signed_in():
    client = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
    client.login(user, password)
    return client


def done(outcome):
    assert outcome[0] == "OK", outcome


other = signed_in()
for round in range(30):
    client = signed_in()
    mine, gone = f"Mine{round}", f"Gone{round}"
    for name in (mine, gone):
        done(client.create(name))
    done(client.select(mine))
    deleting = threading.Thread(target=lambda: done(other.delete(mine)))
    deleting.start()
    try:
        client.delete(gone)
        deleting.join()
        said = client.noop()
    except imaplib.IMAP4.abort as goodbye:
        assert "deleted" in str(goodbye), goodbye
    else:
        raise AssertionError(f"nobody said that {mine} is no more: {said}")
    deleting.join()

client = signed_in()
for round in range(10):
    done(client.create("Mine"))
    done(client.select("Mine"))
    done(client.delete("Mine"))
    done(client.noop())
client.logout()
other.logout()
