//! Streams on loopback, with peers that misbehave.

use super::*;
use crate::stream::ConnectionLimits;

const SOON: Duration = Duration::from_secs(10);

struct House {
    net: Arc<SipNet>,
    address: SocketAddr,
    arrivals: async_channel::Receiver<Arrival>,
}

impl House {
    async fn new() -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (input, arrivals) = async_channel::bounded(16);
        let net = net_with(Vec::new(), input);
        net.serve_streams(listener, None);
        House {
            net,
            address,
            arrivals,
        }
    }

    /// A peer that has sent a request, and the flow to it.
    async fn peer(&self) -> (TcpStream, Flow) {
        let mut peer = TcpStream::connect(self.address).await.unwrap();
        peer.write_all(OPTIONS).await.unwrap();
        match self.next().await {
            Arrival::Message { flow, .. } => (peer, flow),
            other => panic!("{other:?} instead of a message"),
        }
    }

    async fn next(&self) -> Arrival {
        tokio::time::timeout(SOON, self.arrivals.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

const OPTIONS: &[u8] = b"OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off_and_no_other_waits() {
    // Guards pitfall SIP 5: one peer that stops reading never blocks another.
    let house = House::new().await;
    let (deaf, flow) = house.peer().await;
    let (mut other, to_other) = house.peer().await;
    // More than what the kernel's buffers and the queue take together.
    for _ in 0..1_000 {
        house.net.send(flow, Bytes::from(vec![b'x'; 60_000]));
        tokio::task::yield_now().await;
        if !house.arrivals.is_empty() {
            break;
        }
    }
    assert!(matches!(house.next().await, Arrival::Closed { flow: of } if of == flow));
    house.net.send(to_other, Bytes::from_static(b"hello"));
    let mut heard = [0; 5];
    tokio::time::timeout(SOON, other.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"hello");
    // Its own task ends too: nothing of it waits for the peer to read one day.
    assert!(matches!(house.next().await, Arrival::Closed { flow: of } if of == flow));
    assert_eq!(house.net.places.taken(), 1);
    drop(deaf);
}

#[tokio::test]
async fn a_stream_is_heard_beside_a_flood_of_datagrams() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (to, address) = (udp.local_addr().unwrap(), listener.local_addr().unwrap());
    let (input, arrivals) = async_channel::bounded(16);
    let net = net_with(vec![udp], input);
    net.serve_udp();
    net.serve_streams(listener, None);
    tokio::spawn(async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        loop {
            for _ in 0..256 {
                let _ = socket.try_send_to(OPTIONS, to);
            }
            tokio::task::yield_now().await;
        }
    });
    // The flood stands before anybody else comes.
    while net.datagrams.len() < LANE / 2 {
        tokio::task::yield_now().await;
    }
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(OPTIONS).await.unwrap();
    for _ in 0..LANE {
        let next = tokio::time::timeout(SOON, arrivals.recv())
            .await
            .unwrap()
            .unwrap();
        if matches!(next, Arrival::Message { flow, .. } if flow.transport == Transport::Tcp) {
            return;
        }
        // The service has something to do with each.
        tokio::task::yield_now().await;
    }
    panic!("it was not heard among {LANE} of the others");
}

#[tokio::test]
async fn a_flood_loses_its_own_datagrams_and_nobody_elses() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = udp.local_addr().unwrap();
    let (input, arrivals) = async_channel::bounded(16);
    let net = net_with(vec![udp], input);
    net.serve_udp();
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    flood.writable().await.unwrap();
    other.writable().await.unwrap();
    // Nobody reads what arrives, until half of what may wait is waiting.
    while net.datagrams.len() < LANE / 2 {
        flood.try_send_to(OPTIONS, to).unwrap();
        tokio::task::yield_now().await;
    }
    let kept = || net.datagrams.len() + arrivals.len();
    let before = kept();
    for _ in 0..30 {
        flood.try_send_to(OPTIONS, to).unwrap();
    }
    other.try_send_to(OPTIONS, to).unwrap();
    while kept() < before + SHARE as usize + 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kept(), before + SHARE as usize + 1);
    let from = other.local_addr().unwrap();
    let mut last = None;
    while kept() > 0 {
        last = arrivals.try_recv().ok().or(last);
        tokio::task::yield_now().await;
    }
    assert!(matches!(last, Some(Arrival::Message { flow, .. }) if flow.remote == from));
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes() {
    // Guards pitfall SIP 5: what waits for a peer that does not read stays small, however large its messages are.
    let mut streams = Streams::default();
    let (outgoing, flow) = streams.add(
        Flow {
            transport: Transport::Tcp,
            local: "127.0.0.1:1".parse().unwrap(),
            remote: "127.0.0.1:2".parse().unwrap(),
            connection: None,
        },
        None,
    );
    let handle = &streams.by_number[&flow.connection.unwrap()];
    let taken = (0..STREAM_QUEUE)
        .take_while(|_| handle.try_send(Bytes::from(vec![0; limits::SIP_HEADER_BYTES])))
        .count();
    assert_eq!(taken, STREAM_QUEUE_BYTES / limits::SIP_HEADER_BYTES + 1);
    let mut written = Vec::new();
    streams.forget(flow.connection.unwrap());
    outgoing.write_to(&mut written).await;
    assert_eq!(written.len(), taken * limits::SIP_HEADER_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_drips_ends_in_time_or_not_at_all() {
    // Guards pitfall SIP 5: half-sent headers time out, however steadily they come.
    let house = House::new().await;
    let (mut peer, flow) = house.peer().await;
    let begun = Instant::now();
    for byte in OPTIONS.iter().cycle() {
        if peer.write_all(&[*byte]).await.is_err() || !house.arrivals.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < MESSAGE_TIMEOUT + Duration::from_secs(5));
    assert!(matches!(house.arrivals.try_recv(), Ok(Arrival::Closed { flow: of }) if of == flow));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_between_messages_stays() {
    let house = House::new().await;
    let (mut peer, flow) = house.peer().await;
    tokio::time::sleep(MESSAGE_TIMEOUT * 4).await;
    // The next message comes in two pieces.
    let (head, tail) = OPTIONS.split_at(20);
    peer.write_all(head).await.unwrap();
    tokio::time::sleep(MESSAGE_TIMEOUT / 2).await;
    peer.write_all(tail).await.unwrap();
    assert!(matches!(house.next().await, Arrival::Message { flow: of, .. } if of == flow));
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_the_connection_is_the_way_back() {
    // Guards pitfall SIP 5: CRLF keep-alives are answered, and requests to a peer reuse its connection.
    let house = House::new().await;
    let (mut peer, flow) = house.peer().await;
    peer.write_all(b"\r\n\r\n").await.unwrap();
    let mut heard = [0; 7];
    let pong = tokio::time::timeout(SOON, peer.read_exact(&mut heard[..2])).await;
    pong.unwrap().unwrap();
    assert_eq!(&heard[..2], b"\r\n");
    // Who knows the peer's address alone reaches it over the same connection; nobody listens there.
    let by_address = Flow {
        connection: None,
        ..flow
    };
    house.net.send(by_address, Bytes::from_static(b"request"));
    let request = tokio::time::timeout(SOON, peer.read_exact(&mut heard)).await;
    request.unwrap().unwrap();
    assert_eq!(&heard, b"request");
    assert_eq!(house.net.places.taken(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_finished_ends_in_time_and_nobody_waits_for_it() {
    // Guards pitfall SIP 5: handshakes time out.
    let house = House::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = crate::tls::self_signed(folder.path(), &["sip.test".to_owned()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Tls::load(&certificate, &key).unwrap();
    house.net.serve_streams(listener, Some(tls));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let (_peer, _) = house.peer().await;
    let mut heard = Vec::new();
    // It is reset or closed, and told nothing.
    let _reset = silent.read_to_end(&mut heard).await;
    assert!(heard.is_empty());
    assert!(begun.elapsed() <= HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[tokio::test]
async fn what_came_before_the_framing_was_lost_is_answered_on_the_same_connection() {
    // Guards pitfall SIP 5: a bad Content-Length closes the connection, not the mouth of who was asked before.
    let house = House::new().await;
    let mut peer = TcpStream::connect(house.address).await.unwrap();
    let nonsense = b"no message\r\n\r\n";
    peer.write_all(&[OPTIONS, nonsense, OPTIONS].concat())
        .await
        .unwrap();
    let Arrival::Message { flow, message } = house.next().await else {
        panic!("a message")
    };
    assert!(message.is_ok());
    // The answer takes its time.
    tokio::time::sleep(LAST_WORDS / 10).await;
    house.net.send(flow, Bytes::from_static(b"hello"));
    let mut heard = Vec::new();
    tokio::time::timeout(SOON, peer.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(heard, b"hello");
    assert!(matches!(house.next().await, Arrival::Closed { flow: of } if of == flow));
    assert_eq!(
        house.net.places.taken(),
        0,
        "nothing behind it was taken for a message"
    );
}

fn net_with(udp: Vec<UdpSocket>, input: async_channel::Sender<Arrival>) -> Arc<SipNet> {
    let (places, authorities) = (
        Places::new(ConnectionLimits::default()),
        Authorities::load(None).unwrap(),
    );
    SipNet::new(udp, places, authorities, input)
}

/// A house with a UDP socket, and a port on loopback that is closed.
async fn house_with_udp() -> (Arc<SipNet>, async_channel::Receiver<Arrival>, SocketAddr) {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (input, arrivals) = async_channel::bounded(16);
    let places = Places::new(ConnectionLimits::default());
    let net = SipNet::new(vec![udp], places, Authorities::load(None).unwrap(), input);
    net.serve_udp();
    // Until the runtime has looked at it for the first time, a socket takes nothing.
    net.udp[0].socket.writable().await.unwrap();
    (net, arrivals, closed)
}

fn target(transport: Transport, address: SocketAddr, domain: &str) -> Target {
    Target {
        transport,
        address,
        domain: domain.into(),
    }
}

//= https://www.rfc-editor.org/rfc/rfc3261#section-18.4
//= type=test
#[tokio::test]
async fn a_closed_port_is_told_and_the_next_datagram_goes_out() {
    let (net, arrivals, closed) = house_with_udp().await;
    let way = net.open(&target(Transport::Udp, closed, "")).unwrap();
    net.send(way, Bytes::from_static(OPTIONS));
    let told = tokio::time::timeout(SOON, arrivals.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(told, Arrival::Failed { flow } if flow.remote == closed && flow.transport == Transport::Udp)
    );
    // The kernel tells whoever sends next, whomever to.
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to_peer = net
        .open(&target(Transport::Udp, peer.local_addr().unwrap(), ""))
        .unwrap();
    for _ in 0..20 {
        net.send(way, Bytes::from_static(OPTIONS));
        net.send(to_peer, Bytes::from_static(b"hello"));
        let mut heard = [0; 16];
        let len = tokio::time::timeout(SOON, peer.recv(&mut heard))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&heard[..len], b"hello");
    }
}

#[tokio::test]
async fn a_way_over_tcp_is_one_connection_that_may_be_silent_and_its_failure_is_told() {
    let house = House::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = target(Transport::Tcp, listener.local_addr().unwrap(), "other.test");
    let way = house.net.open(&there).unwrap();
    assert_eq!(way.local, house.address, "what the peer can come back to");
    assert_eq!(house.net.open(&there), Some(way), "one connection for all");
    house.net.send(way, Bytes::from_static(b"hello"));
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    peer.write_all(OPTIONS).await.unwrap();
    assert!(matches!(house.next().await, Arrival::Message { flow, .. } if flow == way));
    drop((peer, listener));
    assert!(matches!(house.next().await, Arrival::Closed { flow } if flow == way));
    assert_eq!(house.net.places.taken(), 0);
    let again = house.net.open(&there).unwrap();
    assert_ne!(again.connection, way.connection);
    assert!(matches!(house.next().await, Arrival::Failed { flow } if flow == again));
    // What is sent afterwards is told by the same name.
    house.net.send(again, Bytes::from_static(b"hello"));
    let told = [house.next().await, house.next().await];
    assert!(
        told.iter()
            .any(|told| matches!(told, Arrival::Failed { flow } if *flow == again))
    );
}

#[tokio::test]
async fn a_way_that_nobody_could_come_back_by_is_none() {
    let (net, _arrivals, closed) = house_with_udp().await;
    assert_eq!(
        net.open(&target(Transport::Tcp, closed, "")),
        None,
        "nothing listens for TCP"
    );
    let six = "[2001:db8::1]:5060".parse().unwrap();
    assert_eq!(
        net.open(&target(Transport::Udp, six, "")),
        None,
        "no socket of that family"
    );
}

/// An authority, and a server under TLS whose certificate it gave for these names; answers `pong` to `ping`.
struct Other {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Other {
    async fn new(names: &[&str]) -> Other {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("authority.pem"), root.pem()).unwrap();
        let issuer = rcgen::Issuer::new(authority, key);
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let server_key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(names).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let (cert, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
        std::fs::write(&cert, server.pem()).unwrap();
        std::fs::write(&key, server_key.serialize_pem()).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = tls.acceptor();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let mut heard = [0; 4];
                    if stream.read_exact(&mut heard).await.is_ok() {
                        stream.write_all(OPTIONS).await.unwrap();
                        // Until the other side closes.
                        let _ = stream.read(&mut heard).await;
                    }
                });
            }
        });
        Other { folder, address }
    }

    fn authorities(&self) -> Authorities {
        Authorities::load(Some(&self.folder.path().join("authority.pem"))).unwrap()
    }
}

/// What comes of a message to `domain` at that server, from a house that believes those authorities.
async fn say_ping(other: &Other, authorities: Authorities, domain: &str) -> Arrival {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = Other::new(&["own.test"]).await;
    let tls = Tls::load(
        &own.folder.path().join("server.crt"),
        &own.folder.path().join("server.key"),
    )
    .unwrap();
    let (input, arrivals) = async_channel::bounded(16);
    let net = SipNet::new(
        Vec::new(),
        Places::new(ConnectionLimits::default()),
        authorities,
        input,
    );
    net.serve_streams(listener, Some(tls));
    let way = net.open(&target(Transport::Tls, other.address, domain)).unwrap();
    assert_eq!(
        net.open(&target(Transport::Tls, other.address, domain)),
        Some(way)
    );
    let elsewhere = net
        .open(&target(Transport::Tls, other.address, "third.test"))
        .unwrap();
    assert_ne!(
        elsewhere.connection, way.connection,
        "another domain has to be proven anew"
    );
    net.send(way, Bytes::from_static(b"ping"));
    loop {
        let arrival = tokio::time::timeout(SOON, arrivals.recv())
            .await
            .unwrap()
            .unwrap();
        match &arrival {
            Arrival::Failed { flow } | Arrival::Message { flow, .. } if *flow == way => return arrival,
            _ => {}
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc5922#section-7.3
//= type=test
#[tokio::test]
async fn a_server_of_another_domain_must_prove_to_be_that_domain() {
    let names = [
        "other.test",
        "*.wild.test",
        "xn--bcher-kva.test",
        "192.0.2.7",
        "2001:db8::7",
    ];
    let other = Other::new(&names).await;
    // Who is dialled by an address proves that, by an iPAddress.
    for good in [
        "other.test",
        "OTHER.test",
        "xn--bcher-kva.test",
        "192.0.2.7",
        "2001:db8::7",
    ] {
        let heard = say_ping(&other, other.authorities(), good).await;
        assert!(matches!(heard, Arrival::Message { .. }), "{good}");
    }
    for bad in [
        "another.test",
        "sub.other.test",
        "a.wild.test",
        "127.0.0.1",
        "2001:db8::8",
        "no name",
    ] {
        let heard = say_ping(&other, other.authorities(), bad).await;
        assert!(matches!(heard, Arrival::Failed { .. }), "{bad}");
    }
    let stranger = Other::new(&["other.test"]).await;
    let heard = say_ping(&other, stranger.authorities(), "other.test").await;
    assert!(
        matches!(heard, Arrival::Failed { .. }),
        "an authority that is not believed"
    );
}

#[test]
fn authorities_that_are_none_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authorities.pem");
    for text in [
        None,
        Some(""),
        Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = Authorities::load(Some(&file)).err().unwrap().to_string();
        assert!(
            error.contains("authorities.pem: expected PEM certificates of authorities"),
            "{error}"
        );
    }
}
