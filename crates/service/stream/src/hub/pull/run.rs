//! One attempt to pull a mount: from the DNS to packets, and on until they end.

use super::plane::Pulled;
use super::{PullKey, PullSettings, PullTransport, Way};
use crate::description::Description;
use crate::hub::plane::Plane;
use crate::hub::session::{Path, Peer};
use crate::hub::{ConnectionId, Ends, Event, Output, PairId, QuestionId, SessionKey, SocketId, Unresolved};
use crate::mount::MountName;
use bytes::Bytes;
use ringpost_base::{Instant, Rng, limits};
use ringpost_rtsp::client::{self, Client, Described, Failure, Login, Offer, Outcome, RequestId};
use ringpost_rtsp::header::{Npt, Range, Transport};
use ringpost_rtsp::{Status, Url};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the DNS may.
const RESOLVE: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long is asked anew.
const SILENCE: Duration = Duration::from_secs(10);
/// What does not come over UDP within this time does not come that way.
const UDP_SILENCE: Duration = Duration::from_secs(5);
/// Opens the way through a translator of addresses, as others' clients do: a header without a payload, of no payload type.
const PUNCH: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Which pull an attempt is of.
pub(super) struct Of<'a> {
    pub(super) key: PullKey,
    pub(super) mount: &'a MountName,
    pub(super) settings: &'a PullSettings,
    pub(super) way: Way,
}

/// Why an attempt is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: String,
    /// What is told to those who wait for a description.
    pub(super) status: Status,
    pub(super) next: Next,
}

/// How the next attempt goes.
#[derive(Debug)]
pub(super) enum Next {
    /// As this one did.
    Again,
    /// By the other transport, if there is one that has not been tried.
    OtherWay,
    /// To another server.
    Elsewhere(Url),
}

impl Ended {
    pub(super) fn new(why: impl ToString, status: Status) -> Self {
        Ended {
            why: why.to_string(),
            status,
            next: Next::Again,
        }
    }

    fn silent(for_so_long: Duration, next: Next) -> Self {
        Ended {
            why: format!("nothing has come for {} s", for_so_long.as_secs()),
            status: Status::GATEWAY_TIMEOUT,
            next,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let status = match &failure {
            Failure::Refused { status } if matches!(*status, Status::NOT_FOUND | Status::GONE) => {
                Status::NOT_FOUND
            }
            Failure::TimedOut => Status::GATEWAY_TIMEOUT,
            _ => Status::BAD_GATEWAY,
        };
        let ended = Ended::new(&failure, status);
        match failure {
            Failure::Redirected(url) => Ended {
                next: Next::Elsewhere(url),
                ..ended
            },
            _ => ended,
        }
    }
}

/// An attempt.
pub(super) struct Run {
    client: Client,
    /// When the client is to be woken.
    wake: Option<Instant>,
    /// By when the DNS has answered, or the connection stands.
    deadline: Option<Instant>,
    asked: Option<QuestionId>,
    server: Url,
    addresses: VecDeque<IpAddr>,
    connection: Option<ConnectionId>,
    ends: Option<Ends>,
    options: RequestId,
    description: Option<(Description, Vec<crate::Quirk>)>,
    /// What is being set up, by the place among the m-lines.
    opening: BTreeMap<PairId, usize>,
    setups: BTreeMap<RequestId, usize>,
    pairs: BTreeMap<usize, PairId>,
    paths: BTreeMap<usize, Path>,
    session: Option<SessionKey>,
    /// Since when packets are to come.
    playing: Option<Instant>,
}

impl Run {
    pub(super) fn new(now: Instant, url: Url, settings: &PullSettings, rng: Rng) -> Self {
        let login = settings
            .url
            .credentials()
            .filter(|_| url.is_same_server(&settings.url));
        let config = client::Config {
            login: login.map(|(user, password)| Login { user, password }),
            ..client::Config::new(url.without_credentials())
        };
        let mut client = Client::new(now, config, rng);
        // What it can do says how it wants to be kept awake.
        let options = client.options(now);
        client.describe(now);
        Run {
            client,
            wake: None,
            deadline: None,
            asked: None,
            server: url.without_credentials(),
            addresses: VecDeque::new(),
            connection: None,
            ends: None,
            options,
            description: None,
            opening: BTreeMap::new(),
            setups: BTreeMap::new(),
            pairs: BTreeMap::new(),
            paths: BTreeMap::new(),
            session: None,
            playing: None,
        }
    }

    /// Where it leads, without credentials.
    pub(super) fn source(&self) -> String {
        self.client.url().to_string()
    }

    /// Whether there is a description for readers.
    pub(super) fn is_live(&self) -> bool {
        self.session.is_some()
    }

    /// How long packets have been coming.
    pub(super) fn steady_for(&self, now: Instant, plane: &Plane) -> Option<Duration> {
        let (playing, heard) = (self.playing?, plane.heard_of(self.session?)?);
        (heard > playing).then(|| now.since(playing))
    }

    pub(super) fn deadline(&self, plane: &Plane) -> Option<Instant> {
        let silent = self.silent_at(plane).map(|(at, ..)| at);
        [self.wake, self.deadline, silent].into_iter().flatten().min()
    }

    /// When the server has been silent for too long, how long that is, and whether it has ever sent anything.
    fn silent_at(&self, plane: &Plane) -> Option<(Instant, Duration, bool)> {
        let playing = self.playing?;
        let heard = plane.heard_of(self.session?).filter(|heard| *heard > playing);
        let has_datagrams = self.paths.values().any(|path| path.pair().is_some());
        let silence = match heard {
            None if has_datagrams => UDP_SILENCE,
            _ => SILENCE,
        };
        Some((heard.unwrap_or(playing) + silence, silence, heard.is_some()))
    }

    pub(super) fn handle_addresses(
        &mut self,
        now: Instant,
        id: QuestionId,
        addresses: Result<Vec<IpAddr>, Unresolved>,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        if self.asked != Some(id) {
            return Ok(());
        }
        self.asked = None;
        let found = addresses.map_err(|why| {
            let status = match why {
                Unresolved::Unavailable => Status::GATEWAY_TIMEOUT,
                Unresolved::Unknown | Unresolved::Denied(_) => Status::NOT_FOUND,
            };
            Ended::new(format!("{}: {why}", self.server.host()), status)
        })?;
        self.addresses = found.into_iter().take(limits::PULL_ADDRESSES).collect();
        self.connect(now, "the DNS knows no address of it", of, plane)
    }

    /// Tries the next address.
    fn connect(&mut self, now: Instant, failed: &str, of: &Of<'_>, plane: &mut Plane) -> Result<(), Ended> {
        let Some(address) = self.addresses.pop_front() else {
            let why = format!("{}: {failed}", self.server.host());
            return Err(Ended::new(why, Status::BAD_GATEWAY));
        };
        let connection = ConnectionId::dialled(plane.next_number());
        plane.pulling.add_connection(connection, of.key);
        let name = self.server.host().trim_matches(['[', ']']);
        plane.push(Output::Connect {
            connection,
            to: SocketAddr::new(address, self.server.port()),
            tls: self.server.is_secure().then(|| name.to_owned()),
        });
        self.connection = Some(connection);
        self.deadline = Some(now + CONNECT);
        Ok(())
    }

    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        ends: Ends,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        (self.deadline, self.ends) = (None, Some(ends));
        self.client.handle_connected(now);
        self.drain(now, of, plane)
    }

    pub(super) fn handle_bytes(
        &mut self,
        now: Instant,
        bytes: &[u8],
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        self.client.handle_input(now, bytes);
        self.drain(now, of, plane)
    }

    pub(super) fn handle_media(&mut self, now: Instant) {
        self.client.handle_media(now);
    }

    pub(super) fn handle_closed(
        &mut self,
        now: Instant,
        why: Option<&str>,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        self.connection = None;
        if self.ends.is_none() {
            return self.connect(now, why.unwrap_or("the connection was refused"), of, plane);
        }
        self.client.handle_closed(now);
        self.drain(now, of, plane)
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            if self.asked.is_some() {
                return Err(Ended::new(Unresolved::Unavailable, Status::GATEWAY_TIMEOUT));
            }
            self.hang_up(plane);
            let failed = format!("no connection within {} s", CONNECT.as_secs());
            return self.connect(now, &failed, of, plane).map_err(|ended| Ended {
                status: Status::GATEWAY_TIMEOUT,
                ..ended
            });
        }
        if self.wake.is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
            self.drain(now, of, plane)?;
        }
        match self.silent_at(plane) {
            Some((at, silence, has_spoken)) if at <= now => {
                let has_datagrams = self.paths.values().any(|path| path.pair().is_some());
                let next = match has_datagrams && !has_spoken {
                    true => Next::OtherWay,
                    false => Next::Again,
                };
                Err(Ended::silent(silence, next))
            }
            _ => Ok(()),
        }
    }

    /// Carries out what the client wants.
    pub(super) fn drain(&mut self, now: Instant, of: &Of<'_>, plane: &mut Plane) -> Result<(), Ended> {
        loop {
            match self.client.poll_output() {
                client::Output::Transmit(bytes) => self.transmit(bytes, plane),
                client::Output::Event(event) => self.handle_event(now, event, of, plane)?,
                client::Output::Timeout(at) => {
                    self.wake = at;
                    return Ok(());
                }
            }
        }
    }

    fn transmit(&self, bytes: Bytes, plane: &mut Plane) {
        if let Some(connection) = self.connection {
            plane.push(Output::Transmit { connection, bytes });
        }
    }

    fn handle_event(
        &mut self,
        now: Instant,
        event: client::Event,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        match event {
            // Guards pitfall RTSP 10: each server that we are sent to is looked up, and looked at, anew.
            client::Event::Connect(url) => {
                self.hang_up(plane);
                self.asked = Some(plane.resolve(url.host(), of.key));
                self.deadline = Some(now + RESOLVE);
                self.server = url;
                Ok(())
            }
            client::Event::Done { request, outcome } => self.done(now, request, outcome, of, plane),
            client::Event::Media { track, is_rtcp, data } => {
                if let Some(session) = self.session {
                    plane.handle_media(now, session, track, is_rtcp, data);
                }
                Ok(())
            }
            client::Event::Quirk(quirk) => {
                tolerate(of, format!("{quirk:?}"), plane);
                Ok(())
            }
            client::Event::Told(_) | client::Event::Moved { .. } => Ok(()),
            client::Event::Redirected { url, .. } => Err(Failure::Redirected(url).into()),
            client::Event::SessionLost => Err(Ended::new(
                "the server knows the session no longer",
                Status::BAD_GATEWAY,
            )),
            client::Event::Closed(failure) => Err(failure.into()),
        }
    }

    fn done(
        &mut self,
        now: Instant,
        request: RequestId,
        outcome: Outcome,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        let setup = self.setups.remove(&request);
        match (outcome, setup) {
            (Outcome::Described(described), _) => self.described(now, &described, of, plane),
            (Outcome::SetUp { transport, .. }, Some(place)) => {
                self.set_up(place, &transport);
                self.play_if_ready(now, of, plane)
            }
            (Outcome::Failed(failure), Some(place)) => self.not_set_up(now, place, failure, of, plane),
            (Outcome::Playing(_), _) => {
                self.playing = Some(now);
                Ok(())
            }
            // Some know no OPTIONS.
            (Outcome::Failed(Failure::Refused { .. }), None) if request == self.options => Ok(()),
            (Outcome::Failed(failure), None) => Err(failure.into()),
            _ => Ok(()),
        }
    }

    fn described(
        &mut self,
        now: Instant,
        described: &Described,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        let read = Description::parse(&described.description);
        let (description, quirks) = read.map_err(|error| Ended::new(error, Status::BAD_GATEWAY))?;
        let places: Vec<_> = description.tracks.iter().map(|track| track.place).collect();
        self.description = Some((description, quirks));
        for place in places {
            match (of.way, self.ends) {
                (Way::Udp, Some(ends)) => {
                    let pair = PairId(plane.next_number());
                    let local = ends.local.ip();
                    plane.pulling.add_pair(pair, of.key);
                    plane.push(Output::Open { pair, local });
                    self.opening.insert(pair, place);
                }
                _ => {
                    let request = self.client.setup(now, place, &[Offer::Interleaved]);
                    self.setups.insert(request, place);
                }
            }
        }
        Ok(())
    }

    /// A pair of sockets is open, or cannot be.
    pub(super) fn handle_pair(
        &mut self,
        now: Instant,
        pair: PairId,
        port: Option<u16>,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        let Some(place) = self.opening.remove(&pair) else {
            plane.push(Output::ClosePair(pair));
            return Ok(());
        };
        let rtp_port = port.ok_or_else(|| {
            Ended::new(
                "there is no port left for its packets",
                Status::NOT_ENOUGH_BANDWIDTH,
            )
        })?;
        self.pairs.insert(place, pair);
        let request = self.client.setup(now, place, &[Offer::Udp { rtp_port }]);
        self.setups.insert(request, place);
        self.drain(now, of, plane)
    }

    fn set_up(&mut self, place: usize, transport: &Transport) {
        let path = match (self.pairs.get(&place), self.client.channels(place)) {
            (Some(pair), _) => {
                // Packets come from who is connected to, whatever `source` says.
                let remote = self
                    .ends
                    .map_or(IpAddr::from([0, 0, 0, 0]), |ends| ends.remote.ip());
                let ports = transport.server_port;
                let (rtp, rtcp) = ports.map_or((0, 0), |ports| (ports.rtp, ports.rtcp_port()));
                Path::Datagrams(Peer {
                    pair: *pair,
                    rtp: SocketAddr::new(remote, rtp),
                    rtcp: SocketAddr::new(remote, rtcp),
                    has_shown_rtp: false,
                    has_shown_rtcp: false,
                })
            }
            (None, Some((rtp, rtcp))) => Path::Interleaved { rtp, rtcp },
            (None, None) => return,
        };
        self.paths.insert(place, path);
    }

    /// A stream that the server does not give is left out, if it gives others.
    fn not_set_up(
        &mut self,
        now: Instant,
        place: usize,
        failure: Failure,
        of: &Of<'_>,
        plane: &mut Plane,
    ) -> Result<(), Ended> {
        let is_of_the_way = match &failure {
            Failure::NoTransport | Failure::Unreadable(_) => true,
            Failure::Refused { .. } => false,
            _ => return Err(failure.into()),
        };
        if is_of_the_way && self.paths.is_empty() && of.settings.transport != PullTransport::Tcp {
            return Err(Ended {
                next: Next::OtherWay,
                ..failure.into()
            });
        }
        let is_last = self.description.as_mut().is_none_or(|(description, _)| {
            description.tracks.retain(|track| track.place != place);
            description.tracks.is_empty()
        });
        if is_last {
            return Err(failure.into());
        }
        if let Some(pair) = self.pairs.remove(&place) {
            plane.push(Output::ClosePair(pair));
        }
        tolerate(of, format!("stream {place} is left out: {failure}"), plane);
        self.play_if_ready(now, of, plane)
    }

    /// Goes live once all streams are set up, and has them sent.
    fn play_if_ready(&mut self, now: Instant, of: &Of<'_>, plane: &mut Plane) -> Result<(), Ended> {
        if !(self.opening.is_empty() && self.setups.is_empty()) {
            return Ok(());
        }
        let (Some((description, quirks)), Some(connection), Some(ends)) =
            (self.description.take(), self.connection, self.ends)
        else {
            return Ok(());
        };
        if !plane.has_room_for(of.mount) {
            let why = "as many mounts are live as may be";
            return Err(Ended::new(why, Status::NOT_ENOUGH_BANDWIDTH));
        }
        let peer = ends.remote.ip().to_canonical();
        // Its sockets are the session's from now on.
        self.pairs.clear();
        let session = plane.put_pulled(
            now,
            Pulled {
                mount: of.mount,
                source: self.source(),
                connection,
                peer,
                description,
                paths: self.paths.clone(),
            },
        );
        self.session = Some(session);
        plane.tell(Event::Pulled {
            mount: of.mount.clone(),
            source: self.source(),
            peer,
            quirks,
        });
        for path in self.paths.values() {
            punch(path, plane);
        }
        // Some send nothing without a range.
        let range = Range::npt_from(Npt::At(Duration::ZERO));
        self.client.play(now, None, Some(range), None, None);
        Ok(())
    }

    fn hang_up(&mut self, plane: &mut Plane) {
        self.ends = None;
        if let Some(connection) = self.connection.take() {
            plane.pulling.forget_connection(connection);
            plane.push(Output::Close(connection));
        }
    }

    /// Ends it, with a word to the server if that hears one.
    pub(super) fn end(&mut self, now: Instant, plane: &mut Plane) {
        if self.client.session_timeout().is_some() && self.connection.is_some() {
            self.client.teardown(now);
            loop {
                match self.client.poll_output() {
                    client::Output::Transmit(bytes) => self.transmit(bytes, plane),
                    client::Output::Event(_) => {}
                    client::Output::Timeout(_) => break,
                }
            }
        }
        self.hang_up(plane);
        for pair in std::mem::take(&mut self.pairs).into_values() {
            plane.push(Output::ClosePair(pair));
        }
        if let Some(session) = self.session.take() {
            plane.end_session(now, session);
        }
    }
}

fn tolerate(of: &Of<'_>, what: String, plane: &mut Plane) {
    let mount = of.mount.clone();
    plane.tell(Event::Tolerated { mount, what });
}

/// Shows the server where its packets are waited for, through whatever translates addresses between.
fn punch(path: &Path, plane: &mut Plane) {
    if let Path::Datagrams(peer) = path
        && peer.rtp.port() != 0
    {
        let socket = SocketId {
            pair: peer.pair,
            is_rtcp: false,
        };
        let bytes = Bytes::from_static(&PUNCH);
        plane.push(Output::Datagram {
            socket,
            to: peer.rtp,
            bytes,
        });
    }
}
