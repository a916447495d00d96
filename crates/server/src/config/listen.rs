use super::Config;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What the server listens for, each on its own addresses or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) sip_udp: Listener,
    pub(crate) sip_tcp: Listener,
    pub(crate) sip_tls: Listener,
    pub(crate) smtp: Listener,
    pub(crate) submission: Listener,
    pub(crate) submissions: Listener,
    pub(crate) imap: Listener,
    pub(crate) imaps: Listener,
    pub(crate) pop3: Listener,
    pub(crate) pop3s: Listener,
    pub(crate) rtsp: Listener,
    pub(crate) rtsps: Listener,
    pub(crate) lmtp: Listener,
    pub(crate) lmtp_socket: Option<PathBuf>,
    pub(crate) metrics: Listener,
}

/// One thing that is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    SipUdp,
    SipTcp,
    SipTls,
    Smtp,
    Submission,
    Submissions,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Rtsp,
    Rtsps,
    /// Challenges of who gives certificates; it is set in its own section.
    Acme,
    Lmtp,
    Metrics,
}

impl Service {
    pub(crate) const ALL: [Service; 15] = [
        Service::SipUdp,
        Service::SipTcp,
        Service::SipTls,
        Service::Smtp,
        Service::Submission,
        Service::Submissions,
        Service::Imap,
        Service::Imaps,
        Service::Pop3,
        Service::Pop3s,
        Service::Rtsp,
        Service::Rtsps,
        Service::Acme,
        Service::Lmtp,
        Service::Metrics,
    ];

    /// Its name in the log, and its key in the section `[listen]`, if it is set there.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Service::SipUdp => "sip_udp",
            Service::SipTcp => "sip_tcp",
            Service::SipTls => "sip_tls",
            Service::Smtp => "smtp",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Imap => "imap",
            Service::Imaps => "imaps",
            Service::Pop3 => "pop3",
            Service::Pop3s => "pop3s",
            Service::Rtsp => "rtsp",
            Service::Rtsps => "rtsps",
            Service::Acme => "acme",
            Service::Lmtp => "lmtp",
            Service::Metrics => "metrics",
        }
    }

    /// The key that it is set with, in full.
    pub(crate) fn setting(self) -> String {
        match self {
            Service::Acme => "acme.listen".into(),
            service => format!("listen.{}", service.key()),
        }
    }

    /// The port that clients expect, and the one that is taken instead, by default, when that one is denied.
    pub(crate) fn ports(self) -> (u16, u16) {
        match self {
            Service::SipUdp | Service::SipTcp => (5060, 5060),
            Service::SipTls => (5061, 5061),
            Service::Smtp => (25, 2525),
            Service::Submission => (587, 5870),
            Service::Submissions => (465, 4650),
            Service::Imap => (143, 1430),
            Service::Imaps => (993, 9930),
            Service::Pop3 => (110, 1100),
            Service::Pop3s => (995, 9950),
            Service::Rtsp => (554, 8554),
            Service::Rtsps => (322, 8322),
            // An authority asks at no other.
            Service::Acme => (80, 80),
            Service::Lmtp => (24, 2400),
            Service::Metrics => (9464, 9464),
        }
    }

    /// Where it listens when nothing is set: on every address, the metrics on loopback, and LMTP nowhere.
    pub(crate) fn default_listener(self) -> Listener {
        let port = self.ports().0;
        match self {
            Service::Lmtp => Listener(Vec::new()),
            Service::Metrics => Listener(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]),
            _ => Listener::everywhere(port),
        }
    }
}

impl Listen {
    /// What is set for a service; `None` where that has its own section.
    fn of(&self, service: Service) -> Option<&Listener> {
        Some(match service {
            Service::SipUdp => &self.sip_udp,
            Service::SipTcp => &self.sip_tcp,
            Service::SipTls => &self.sip_tls,
            Service::Smtp => &self.smtp,
            Service::Submission => &self.submission,
            Service::Submissions => &self.submissions,
            Service::Imap => &self.imap,
            Service::Imaps => &self.imaps,
            Service::Pop3 => &self.pop3,
            Service::Pop3s => &self.pop3s,
            Service::Rtsp => &self.rtsp,
            Service::Rtsps => &self.rtsps,
            Service::Acme => return None,
            Service::Lmtp => &self.lmtp,
            Service::Metrics => &self.metrics,
        })
    }
}

impl Config {
    /// Where a service listens.
    pub(crate) fn listener(&self, service: Service) -> Listener {
        self.listen
            .of(service)
            .cloned()
            .unwrap_or_else(|| self.acme.listener())
    }

    /// No address is given to two services (UDP and TCP are two worlds).
    pub(super) fn check_addresses(&self) -> Result<(), (String, String)> {
        let taken = |service: Service| {
            let addresses = self.listener(service).0.into_iter();
            addresses.map(move |address| (service, address))
        };
        let mut seen: Vec<(Service, SocketAddr)> = Vec::new();
        for (service, address) in Service::ALL.into_iter().flat_map(taken) {
            let udp = |service| service == Service::SipUdp;
            let clash = |(other, theirs): &&(Service, SocketAddr)| {
                *theirs == address && address.port() != 0 && udp(*other) == udp(service)
            };
            if let Some((other, _)) = seen.iter().find(clash) {
                let wrong = format!(
                    "{address} is {}'s already; give one of them another port",
                    other.setting()
                );
                return Err((service.setting(), wrong));
            }
            seen.push((service, address));
        }
        Ok(())
    }
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            sip_udp: Service::SipUdp.default_listener(),
            sip_tcp: Service::SipTcp.default_listener(),
            sip_tls: Service::SipTls.default_listener(),
            smtp: Service::Smtp.default_listener(),
            submission: Service::Submission.default_listener(),
            submissions: Service::Submissions.default_listener(),
            imap: Service::Imap.default_listener(),
            imaps: Service::Imaps.default_listener(),
            pop3: Service::Pop3.default_listener(),
            pop3s: Service::Pop3s.default_listener(),
            rtsp: Service::Rtsp.default_listener(),
            rtsps: Service::Rtsps.default_listener(),
            lmtp: Service::Lmtp.default_listener(),
            lmtp_socket: None,
            metrics: Service::Metrics.default_listener(),
        }
    }
}

/// The addresses of a service: `"off"`, one address with its port, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener(Vec<SocketAddr>);

impl Listener {
    /// On these addresses; on none it is off.
    pub(crate) fn at(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Listener(addresses.into_iter().collect())
    }

    /// On every address of the machine.
    pub(crate) fn everywhere(port: u16) -> Self {
        Listener(vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        ])
    }

    /// The addresses; none when it is off.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str("off"),
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Addresses;

        impl<'de> Visitor<'de> for Addresses {
            type Value = Listener;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\", an address with its port like \"0.0.0.0:5060\" or \"[::]:5060\", or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Listener, E> {
                if text == "off" {
                    return Ok(Listener(Vec::new()));
                }
                Ok(Listener(vec![address(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listener, A::Error> {
                let mut addresses = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    addresses.push(address(&text)?);
                }
                Ok(Listener(addresses))
            }
        }

        deserializer.deserialize_any(Addresses)
    }
}

fn address<E: Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse().map_err(|_| {
        E::custom(format!(
            "{text:?} is not an address with a port; write \"0.0.0.0:5060\", \"[::]:5060\" or \"off\""
        ))
    })
}
