use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// One line of the table of a [`Dns`].
#[derive(Clone, Debug)]
pub enum Record {
    /// A domain's way to SIP: order, service, and the name to ask for next.
    Naptr(&'static str, u16, &'static str, &'static str),
    /// A service's server: priority, port, and host.
    Srv(&'static str, u16, u16, &'static str),
    /// A host's address.
    A(&'static str, Ipv4Addr),
    /// A server that takes a domain's mail: preference, and host.
    Mx(&'static str, u16, &'static str),
    /// A text, in strings of 255 bytes where it is longer.
    Txt(String, String),
}

/// A DNS server on loopback that knows a table and says of everything else that it does not exist. It ends with the test's
/// process.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
}

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
const IN: u16 = 1;

impl Dns {
    /// Starts it.
    pub fn start(table: Vec<Record>) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let address = socket.local_addr().expect("a bound socket");
        std::thread::spawn(move || {
            let mut query = [0; 1_500];
            while let Ok((len, peer)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&table, &query[..len]) {
                    // Whoever asked has gone: nobody misses it.
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Dns { address }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The answer to a query with one question (RFC 1035 §4.1).
fn answer(table: &[Record], query: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        name.push_str(&String::from_utf8_lossy(query.get(at..at + len)?).to_ascii_lowercase());
        name.push('.');
        at += len;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let question = query.get(12..at + 4)?;
    let name = name.trim_end_matches('.');
    let is_known = table.iter().any(|record| record.name() == name);
    let found = table
        .iter()
        .filter(|record| record.name() == name && record.kind() == kind);
    let data: Vec<Vec<u8>> = found.map(Record::data).collect();
    // Its number; an authoritative response, which offers recursion; NXDOMAIN for a name that is not in the table.
    let code = if is_known { 0 } else { 3 };
    let mut answer = [
        query.get(..2)?,
        &[0x85, 0x80 | code, 0, 1, 0, data.len() as u8, 0, 0, 0, 0],
        question,
    ]
    .concat();
    for data in data {
        answer.extend([0xc0, 12]); // The name of the question.
        for number in [kind, IN, 0, 60, data.len() as u16] {
            answer.extend(number.to_be_bytes());
        }
        answer.extend(data);
    }
    Some(answer)
}

impl Record {
    fn name(&self) -> &str {
        match self {
            Record::Naptr(name, ..) | Record::Srv(name, ..) | Record::A(name, _) | Record::Mx(name, ..) => {
                name
            }
            Record::Txt(name, _) => name,
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Record::Naptr(..) => NAPTR,
            Record::Srv(..) => SRV,
            Record::A(..) => A,
            Record::Mx(..) => MX,
            Record::Txt(..) => TXT,
        }
    }

    fn data(&self) -> Vec<u8> {
        let numbers = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        match self {
            Record::Naptr(_, order, service, next) => [
                numbers(&[*order, 10]),
                text("s"),
                text(service),
                text(""),
                labels(next),
            ]
            .concat(),
            Record::Srv(_, priority, port, host) => [numbers(&[*priority, 0, *port]), labels(host)].concat(),
            Record::A(_, address) => address.octets().to_vec(),
            Record::Txt(_, value) => {
                let strings = value.as_bytes().chunks(255);
                strings.flat_map(|s| [&[s.len() as u8], s].concat()).collect()
            }
            Record::Mx(_, preference, host) => [numbers(&[*preference]), labels(host)].concat(),
        }
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut labels: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    labels.push(0);
    labels
}
