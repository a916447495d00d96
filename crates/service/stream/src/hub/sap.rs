//! Announcements: mounts that are sent to groups are told to the network, and what others tell of theirs is remembered.

use super::plane::Plane;
use super::{Event, Output, Timer};
use crate::mount::MountName;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_sdp::sap::{
    AdId, Announcer, AnnouncerOutput, Ignored, Listener, ListenerEvent, ListenerOutput, Packet,
};
pub use ringpost_sdp::sap::{
    IPV4_GROUPS as SAP_IPV4, IPV6_GROUPS as SAP_IPV6, PORT as SAP_PORT, TTL as SAP_TTL,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Our own addresses, as announcements name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// For groups of IPv4; without it none is announced.
    pub v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// A session that somebody else announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedInfo {
    /// Its name.
    pub name: String,
    /// Who announces it, by its own word.
    pub source: IpAddr,
    /// Where its packets come from.
    pub from: IpAddr,
    /// Where its first stream is sent, if it says so.
    pub group: Option<SocketAddr>,
    /// What its streams are.
    pub media: Vec<String>,
    /// How long it has been known.
    pub age: Duration,
    /// How long ago it was heard of last.
    pub silent_for: Duration,
}

/// SAP, where it is wanted.
#[derive(Debug)]
pub(crate) struct Sap {
    announcer: Announcer,
    listener: Listener,
    sources: Sources,
}

impl Sap {
    pub(crate) fn new(now: Instant, wallclock: UnixTime, rng: Rng) -> Self {
        Sap {
            announcer: Announcer::new(rng),
            listener: Listener::new(now, wallclock),
            sources: Sources::default(),
        }
    }
}

impl Plane {
    /// Our addresses are these from now on; what could not be announced without one is.
    pub(crate) fn set_sources(&mut self, now: Instant, sources: Sources) {
        if let Some(sap) = &mut self.sap {
            sap.sources = sources;
        }
        let mounts: Vec<MountName> = self.names.keys().cloned().collect();
        for mount in mounts {
            self.advertise(now, &mount);
        }
    }

    /// Announces a mount whose group is sent to, or its description as it is now.
    pub(crate) fn advertise(&mut self, now: Instant, mount: &MountName) {
        let Some((ad, group)) = self.ad_of(mount) else {
            return;
        };
        let live = self.names.get(mount).and_then(|key| self.live.get(key));
        let (Some(live), Some(sap)) = (live, &mut self.sap) else {
            return;
        };
        let source = match group.address {
            IpAddr::V4(_) => sap.sources.v4.map(IpAddr::from),
            IpAddr::V6(_) => sap.sources.v6.map(IpAddr::from),
        };
        let Some(source) = source else { return };
        let description = live.announcement(source, group);
        sap.announcer
            .announce(now, ad, source, group.address, &description);
        self.flush_sap();
    }

    /// A mount is announced no longer.
    pub(crate) fn withdraw(&mut self, _now: Instant, ad: AdId) {
        if let Some(sap) = &mut self.sap {
            sap.announcer.withdraw(ad);
            self.flush_sap();
        }
    }

    /// Nothing is announced any longer.
    pub(crate) fn withdraw_all(&mut self) {
        if let Some(sap) = &mut self.sap {
            sap.announcer.withdraw_all();
            self.flush_sap();
        }
    }

    pub(crate) fn advertises(&self, ad: AdId) -> bool {
        self.sap.as_ref().is_some_and(|sap| sap.announcer.announces(ad))
    }

    pub(crate) fn handle_announcement(
        &mut self,
        now: Instant,
        group: IpAddr,
        from: IpAddr,
        bytes: &[u8],
    ) -> Result<(), Ignored> {
        let Some(sap) = &mut self.sap else { return Ok(()) };
        let is_ours = Packet::parse(bytes).is_ok_and(|packet| sap.announcer.is_ours(&packet));
        if is_ours {
            return Ok(());
        }
        sap.listener.handle_packet(now, group, from, bytes)?;
        sap.announcer.handle_others(group, sap.listener.count(group));
        self.flush_sap();
        Ok(())
    }

    pub(crate) fn handle_sap_timeout(&mut self, now: Instant) {
        if let Some(sap) = &mut self.sap {
            sap.announcer.handle_timeout(now);
            sap.listener.handle_timeout(now);
            self.flush_sap();
        }
    }

    fn flush_sap(&mut self) {
        let Some(sap) = &mut self.sap else { return };
        let mut outputs = Vec::new();
        let mut deadlines = [None, None];
        loop {
            match sap.announcer.poll_output() {
                AnnouncerOutput::Transmit { to, bytes } => {
                    let bytes = bytes.into();
                    outputs.push(Output::Announce { to, bytes });
                }
                AnnouncerOutput::Timeout(at) => break deadlines[0] = at,
            }
        }
        loop {
            match sap.listener.poll_output() {
                ListenerOutput::Event(event) => outputs.push(Output::Event(told(event))),
                ListenerOutput::Timeout(at) => break deadlines[1] = at,
            }
        }
        outputs.into_iter().for_each(|output| self.push(output));
        self.set_timer(Timer::Sap, deadlines.into_iter().flatten().min());
    }

    /// What others announce.
    pub(crate) fn announced_by_others(&self, now: Instant) -> Vec<AnnouncedInfo> {
        let sessions = self.sap.iter().flat_map(|sap| sap.listener.sessions());
        let infos = sessions.map(|announced| {
            let description = &announced.description;
            let first = description.media.first().and_then(|media| {
                let address = description.connection_of(media)?.address.ip()?;
                Some(SocketAddr::new(address, media.port))
            });
            AnnouncedInfo {
                name: description.name.clone(),
                source: announced.source,
                from: announced.from,
                group: first,
                media: description
                    .media
                    .iter()
                    .map(|media| media.kind.name().to_owned())
                    .collect(),
                age: now.since(announced.since),
                silent_for: now.since(announced.heard),
            }
        });
        infos.collect()
    }
}

fn told(event: ListenerEvent) -> Event {
    let (announced, is_there) = match event {
        ListenerEvent::Appeared(announced) | ListenerEvent::Changed(announced) => (announced, true),
        ListenerEvent::Gone(announced) => (announced, false),
    };
    Event::Announced {
        name: announced.description.name,
        from: announced.from,
        is_there,
    }
}
