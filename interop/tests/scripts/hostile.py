"""Does to a server what nobody should, and looks whether others are served meanwhile.

usage: hostile.py HOST DOMAIN USER PASSWORD OTHER-USER OTHER-PASSWORD
"""
import imaplib
import random
import smtplib
import socket
import ssl
import sys
import threading
import time

host, domain, user, password, other_user, other_password = sys.argv[1:]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE
STREAMS = {"sip": 5060, "sips": 5061, "smtp": 2525, "submissions": 4650, "imap": 1430, "imaps": 9930}
random.seed(1)
began = time.monotonic()


def connect(port, source, timeout=20):
    return socket.create_connection((host, port), timeout, (source, 0))


def request(method, transport, more=""):
    mark = f"{random.getrandbits(64):x}"
    return (
        f"{method} sip:{domain} SIP/2.0\r\nVia: SIP/2.0/{transport} x;branch=z9hG4bK{mark};rport\r\n"
        f"From: <sip:{mark}@{domain}>;tag=1\r\nTo: <sip:{domain}>\r\nCall-ID: {mark}\r\nCSeq: 1 {method}\r\n"
        f"Contact: <sip:x@127.0.0.1:9>\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    ).encode()


class Imap(imaplib.IMAP4_SSL):
    """From an address of its own."""

    def _create_socket(self, timeout):
        return TLS.wrap_socket(connect(9930, "127.77.0.1"))


def others_are_served(when):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.77.0.1", 0))
    datagrams.settimeout(2)
    for _ in range(10):  # As a phone would, that has lost one.
        datagrams.sendto(request("OPTIONS", "UDP"), (host, 5060))
        try:
            assert datagrams.recv(4096).startswith(b"SIP/2.0 200"), when
            break
        except TimeoutError:
            pass
    else:
        raise AssertionError(f"{when}: no answer to OPTIONS")
    with connect(5060, "127.77.0.1") as stream:
        stream.sendall(request("OPTIONS", "TCP"))
        assert stream.recv(4096).startswith(b"SIP/2.0 200"), when
    mail = smtplib.SMTP(host, 2525, timeout=20, source_address=("127.77.0.1", 0))
    assert mail.noop()[0] == 250, when
    mail.quit()
    imap = Imap(host, 9930)
    assert imap.login(user, password)[0] == "OK", when
    imap.logout()
    print(f"{time.monotonic() - began:.1f} s: others are served {when}", flush=True)


def is_closed(stream):
    stream.setblocking(False)
    try:
        while stream.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


others_are_served("at first")

# One address takes all the connections that it may have, most of them in the middle of a handshake.
hello = ssl.MemoryBIO()
try:
    TLS.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
except ssl.SSLWantReadError:
    pass
hello = hello.read()
taken = []
for number in range(198):
    name = list(STREAMS)[number % len(STREAMS)]
    taken.append(connect(STREAMS[name], "127.77.1.1"))
    taken[-1].sendall(hello[: number % len(hello)] if "s" == name[-1] else b"x")
taken += [connect(2525, "127.77.1.1") for _ in range(10)]
# Each listener takes its own as it comes to it: any of them may be the last.
limit = time.monotonic() + 60
while sum(is_closed(stream) for stream in taken) < 8:
    assert time.monotonic() < limit, "one address has more than 200 connections"
    time.sleep(0.1)
others_are_served("beside an address that has all it may have")

# Lines without an end, and literals without a login.
for port, beginning in [
    (2525, b"MAIL FROM:<"),
    (1430, b'a LOGIN "'),
    (1430, b"a LOGIN {4000000000}\r\n"),
    (1430, b"a LOGIN {4000000000+}\r\n"),
    (1430, b"a APPEND INBOX {40000000}\r\n"),
    (5060, b"OPTIONS sip:x SIP/2.0\r\nX: "),
    (5060, b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 2000000000\r\n\r\n"),
    (9464, b"GET /"),
]:
    with connect(port, "127.77.2.1") as stream:
        try:
            stream.sendall(beginning)
            for _ in range(40):
                stream.sendall(b"x" * 65536)
        except ConnectionError:
            pass

# Noise.
for port in [*STREAMS.values(), 9464]:
    for size in (1, 10, 100, 1_000, 20_000):
        for start in (b"", b"\x16\x03\x01"):
            with connect(port, "127.77.3.1") as stream:
                try:
                    stream.sendall(start + random.randbytes(size))
                except ConnectionError:
                    pass
others_are_served("after noise and lines without an end")

# More guess at once than may wait for a password to be looked at; somebody logs in who has not done so before.
def guess():
    with TLS.wrap_socket(connect(9930, "127.77.4.1", 60)) as stream:
        stream.recv(4096)
        stream.sendall(f"a LOGIN {other_user} wrong\r\n".encode())
        guessing.release()
        stream.recv(4096)


guessing = threading.Semaphore(0)
for _ in range(90):
    threading.Thread(target=guess, daemon=True).start()
for _ in range(90):
    guessing.acquire()
imap = Imap(host, 9930)
assert imap.login(other_user, other_password)[0] == "OK"
imap.logout()
others_are_served("beside 90 that guess")

# Requests by datagram, as fast as they go, of people who do not exist.
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.bind(("127.77.5.1", 0))
credentials = (
    f'Authorization: Digest username="x", realm="{domain}", nonce="x", uri="sip:{domain}", algorithm=MD5, qop=auth, '
    'nc=00000001, cnonce="x", response="00000000000000000000000000000000"\r\n'
)
for number in range(20_000):
    method = ("REGISTER", "INVITE", "OPTIONS", "BYE", "MESSAGE")[number % 5]
    flood.sendto(request(method, "UDP", credentials if number % 2 else "Require: x\r\n"), (host, 5060))
    if number == 10_000:
        others_are_served("beside a flood")
for stream in taken:
    stream.close()
others_are_served("in the end")
