"""Plays the tracks of a film one by one, as RFC 2326 has it (§10.5, §10.6, §12.29, §12.33, §12.34), and holds what comes against
what was told: HOST PORT PATH. The film has pictures of 25 a second as track 0 and sound as track 1."""

import re
import socket
import struct
import sys

HOST, PORT, PATH = sys.argv[1], int(sys.argv[2]), sys.argv[3]
URL = f"rtsp://{HOST}:{PORT}/{PATH}"


class Client:
    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=20)
        self.rest, self.cseq, self.session = b"", 0, None
        self.came = {0: [], 2: []}
        for track in (0, 1):
            way = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
            answer = self.ask("SETUP", f"/trackID={track}", Transport=way)
            self.session = re.search(r"Session: ([^;\r]+)", answer)[1]

    def item(self):
        """The next answer, or None for a packet, which is kept."""
        while True:
            if self.rest[:1] == b"$" and len(self.rest) >= 4:
                channel, length = struct.unpack(">BH", self.rest[1:4])
                if len(self.rest) >= 4 + length:
                    packet, self.rest = self.rest[4:4 + length], self.rest[4 + length:]
                    if channel in self.came:
                        self.came[channel].append(struct.unpack(">HI", packet[2:8]))
                    return None
            elif self.rest[:1] not in (b"", b"$") and b"\r\n\r\n" in self.rest:
                head, _, self.rest = self.rest.partition(b"\r\n\r\n")
                return head.decode()
            more = self.socket.recv(65536)
            assert more, "the server has closed"
            self.rest += more

    def ask(self, method, of="", **fields):
        self.cseq += 1
        lines = [f"{method} {URL}{of} RTSP/1.0", f"CSeq: {self.cseq}"]
        lines += [f"Session: {self.session}"] if self.session else []
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while not (answer := self.item()):
            pass
        assert answer.startswith("RTSP/1.0 200"), answer
        return answer

    def wait(self, track, packets):
        """Until so many more packets of a track have come."""
        wanted = len(self.came[2 * track]) + packets
        while len(self.came[2 * track]) < wanted:
            self.item()

    def check_first(self, answer, track, had, clock):
        """What comes first of a track is what was told, and nothing of before."""
        told = re.search(rf"trackID={track};seq=(\d+);rtptime=(\d+)", answer)
        assert told, answer
        sequence, timestamp = self.came[2 * track][had]
        assert sequence == int(told[1]), (answer, sequence)
        later = (timestamp - int(told[2])) % 2**32
        assert later < clock / 10, (answer, later)

    def check_whole(self, track):
        """Nothing is missing and nothing comes twice."""
        numbers = [sequence for sequence, _ in self.came[2 * track]]
        for one, next_one in zip(numbers, numbers[1:]):
            assert next_one == (one + 1) % 65536, (track, one, next_one)


# One track is taken up while the other one plays, pauses, and is taken up again.
for first, second in ((0, 1), (1, 0)):
    client = Client()
    clock = (48_000, 90_000)[second == 0]
    told = client.ask("PLAY", f"/trackID={first}")
    assert told.count("seq=") == 1, told
    client.wait(first, 30)
    for _ in range(2):
        had = len(client.came[2 * second])
        told = client.ask("PLAY", f"/trackID={second}")
        assert told.count("seq=") == 1, told
        client.wait(second, 30)
        client.check_first(told, second, had, clock)
        client.ask("PAUSE", f"/trackID={second}")
        had = len(client.came[2 * second])
        client.wait(first, 60)
        assert len(client.came[2 * second]) == had, "a track that has paused is sent"
    client.check_whole(first)
    client.check_whole(second)

# Another scale is one for what plays, at once: pictures are twice as near to each other in RTP's time.
client = Client()
client.ask("PLAY", Range="npt=0-")
client.wait(0, 30)
for scale, step in (("2", 1_800), ("1", 3_600)):
    had = len(client.came[0])
    told = client.ask("PLAY", Scale=scale)
    assert f"Scale: {scale}" in told and "Range: npt=" in told, told
    client.wait(0, 60)
    client.check_first(told, 0, len(client.came[0]) - 60, 90_000)
    times = sorted({timestamp for _, timestamp in client.came[0][-50:]})
    steps = {after - before for before, after in zip(times, times[1:])}
    assert min(steps) in range(step - 1, step + 2), (scale, steps)

# A time that is waited for is waited for no more behind a pause.
client = Client()
client.ask("PLAY", Range="npt=5-;time=20991231T000000Z")
client.ask("PAUSE")
assert client.came == {0: [], 2: []}
told = client.ask("PLAY")
assert "Range: npt=5" in told or "Range: npt=4" in told, told
client.wait(0, 5)
client.check_first(told, 0, 0, 90_000)
print("ok")
