"""SCRAM-SHA-256 and -PLUS by the library scramp, over imaplib's and poplib's connections, under TLS from the start and after
STARTTLS; and refusals: a wrong password, a binding to another connection, an offer that somebody took away.

usage: scram_bound.py HOST IMAP IMAPS POP3 POP3S USER PASSWORD
"""
import base64
import imaplib
import poplib
import ssl
import sys

from scramp import ScramClient

host, imap_port, imaps_port, pop3_port, pop3s_port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
PLAIN, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"


class Exchange:
    """The client's side, fed with the server's messages in their order."""

    def __init__(self, mechanism, password, binding):
        self.client = ScramClient([mechanism], user, password, channel_binding=binding)
        self.steps = iter([self.first, self.final, self.last])

    def first(self, _):
        return self.client.get_client_first()

    def final(self, message):
        self.client.set_server_first(message)
        return self.client.get_client_final()

    def last(self, message):
        self.client.set_server_final(message)  # Raises when the server has not proven itself.
        return ""

    def answer(self, message):
        return next(self.steps)(message.decode()).encode()


def imaps():
    return imaplib.IMAP4_SSL(host, int(imaps_port), ssl_context=context)


def imap_starttls():
    client = imaplib.IMAP4(host, int(imap_port))
    client.starttls(context)
    return client


def by_imap(client, mechanism, exchange):
    assert f"AUTH={mechanism}" in client.capability()[1][0].decode(), client.capabilities
    client.authenticate(mechanism, exchange.answer)
    assert client.select()[0] == "OK"
    client.logout()


def pop3s():
    return poplib.POP3_SSL(host, int(pop3s_port), context=context)


def pop3_stls():
    client = poplib.POP3(host, int(pop3_port))
    client.stls(context)
    return client


def by_pop3(client, mechanism, exchange):
    assert mechanism in client.capa()["SASL"], client.capa()
    client._putcmd(f"AUTH {mechanism}")
    while True:
        line, _ = client._getline()
        if not line.startswith(b"+ "):
            break
        answer = exchange.answer(base64.b64decode(line[2:]))
        client._putline(base64.b64encode(answer))
    if not line.startswith(b"+OK"):
        raise poplib.error_proto(line)
    client.stat()
    client.quit()


for open_one, log_in, refused in (
    (imaps, by_imap, imaplib.IMAP4.error),
    (imap_starttls, by_imap, imaplib.IMAP4.error),
    (pop3s, by_pop3, poplib.error_proto),
    (pop3_stls, by_pop3, poplib.error_proto),
):
    what = f"{open_one.__name__}"

    def attempt(mechanism, password, binding_of, expected):
        client = open_one()
        binding = binding_of(client.sock)
        try:
            log_in(client, mechanism, Exchange(mechanism, password, binding))
            outcome = "in"
        except refused as error:
            outcome = str(error)
        assert expected in outcome, (what, mechanism, outcome)

    none = lambda _: None
    end_point = lambda sock: ("tls-server-end-point", sock)
    other = lambda sock: ("tls-server-end-point", b"x" * 32)
    attempt(PLAIN, password, none, "in")
    attempt(PLUS, password, end_point, "in")
    attempt(PLAIN, "wrong", none, "AUTH")
    attempt(PLUS, password, other, "AUTH")
    # `y` says that the server offers none: somebody has taken it away.
    attempt(PLAIN, password, end_point, "AUTH")
print("scram is proven and refused as it should be")
