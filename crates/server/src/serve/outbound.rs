//! Mail to other servers: the node's worker over real sockets.

use super::signalling::Names;
use crate::config::{Config, SmartHostTls};
use crate::stores::Stores;
use crate::world::{NetConnection, RealWorld};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_admin::Metrics;
use ringpost_base::limits;
use ringpost_mail::{Mail, Schedule};
use ringpost_net::dns::Resolver;
use ringpost_net::https::{Bounds, Request, exchange};
use ringpost_net::stream::{Stream, To};
use ringpost_net::tls::{self, Authorities};
use ringpost_node::Stop;
use ringpost_node::outbound::{self, Outbound, OutboundCounters, Sending, SmartHost};
use ringpost_node::world::{Connection, Dial, DialError, Dialer, Policies, Proof, Tlsa};
use ringpost_smtp::client::Credentials;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the worker is made of.
pub(super) struct Carrier<'a> {
    pub(super) config: &'a Config,
    pub(super) credentials: Option<Credentials>,
    pub(super) world: Arc<RealWorld>,
    pub(super) stores: &'a Stores,
    pub(super) mail: Arc<Mail>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) authorities: Authorities,
    pub(super) stop: Stop,
}

/// What is known of the worker while it runs.
#[derive(Clone)]
pub(super) struct Carried {
    mail: Arc<Mail>,
    counters: Arc<OutboundCounters>,
    /// That people may send to other servers, if they may.
    pub(super) sending: Option<Arc<Sending>>,
}

impl Carrier<'_> {
    /// Starts the worker, unless the configuration wants none. What waits from earlier is left as it is then.
    pub(super) fn start(self) -> Carried {
        let counters = Arc::<OutboundCounters>::default();
        let set = &self.config.outbound;
        let carried = Carried {
            mail: self.mail.clone(),
            counters: counters.clone(),
            sending: set
                .enabled
                .then(|| Arc::new(Sending::new(set.recipients_per_hour))),
        };
        let max_age = Duration::from_secs(3_600 * u64::from(set.max_age_h));
        self.mail.give_up_after(max_age);
        if !set.enabled {
            return carried;
        }
        let directory = self.stores.directory.clone();
        let config = outbound::Config {
            smart_host: set.smart_host.clone().map(|host| SmartHost {
                host,
                port: set.smart_host_port,
                tls: match set.smart_host_tls {
                    SmartHostTls::StartTls => outbound::SmartHostTls::StartTls,
                    SmartHostTls::Implicit => outbound::SmartHostTls::Implicit,
                    SmartHostTls::None => outbound::SmartHostTls::None,
                },
                credentials: self.credentials,
            }),
            schedule: Schedule {
                max_age,
                ..Schedule::default()
            },
            networks: set.networks.iter().map(|network| network.parts()).collect(),
            connections: set.connections,
            per_destination: set.connections_per_destination,
            mta_sts: set.mta_sts,
            ..outbound::Config::new(directory.default_domain())
        };
        let worker = Outbound {
            world: self.world,
            directory,
            mail: self.mail,
            dns: Arc::new(Names(self.resolver)),
            dialer: Arc::new(NetDialer(self.authorities.clone())),
            policies: Arc::new(NetPolicies(self.authorities)),
            unavailable: Arc::default(),
            config: Arc::new(config),
            counters,
            stop: self.stop,
        };
        tokio::spawn(worker.run());
        carried
    }
}

impl Carried {
    /// Shows how it stands.
    pub(super) fn watch(&self, metrics: &Metrics) {
        type Count = fn(&OutboundCounters) -> u64;
        let counted: [(&str, &str, Count); 3] = [
            (
                "mail_sent",
                "Recipients whose mail other servers have taken",
                OutboundCounters::sent,
            ),
            (
                "mail_deferred",
                "Attempts for a recipient elsewhere that will be repeated",
                OutboundCounters::deferred,
            ),
            (
                "mail_bounced",
                "Recipients elsewhere who were refused or given up",
                OutboundCounters::bounced,
            ),
        ];
        for (name, help, count) in counted {
            let counters = self.counters.clone();
            metrics.watch_counter(name, help, move || count(&counters));
        }
    }

    /// Messages that wait.
    pub(super) fn queued(&self) -> i64 {
        i64::try_from(self.mail.queue_len()).unwrap_or(i64::MAX)
    }
}

/// Connections of `net` as the node wants them.
struct NetDialer(Authorities);

impl Dialer for NetDialer {
    fn dial(&self, dial: Dial) -> BoxFuture<'static, Result<Box<dyn Connection>, DialError>> {
        let authorities = self.0.clone();
        Box::pin(async move {
            let proof = match dial.proof {
                Proof::Any => tls::Proof::Any,
                Proof::Name => tls::Proof::Name,
                Proof::Dane { records, domain } => tls::Proof::Dane {
                    records: records.into_iter().map(record).collect(),
                    domain,
                },
            };
            let to = To {
                address: dial.to,
                name: &dial.name,
                proof: &proof,
                implicit_tls: dial.implicit_tls,
            };
            match Stream::connect(to, &authorities).await {
                Ok(stream) => Ok(Box::new(NetConnection::new(stream)) as Box<dyn Connection>),
                Err(error) => Err(DialError(error.to_string())),
            }
        })
    }
}

fn record(record: Tlsa) -> tls::Tlsa {
    tls::Tlsa {
        usage: record.usage,
        selector: record.selector,
        matching: record.matching,
        data: record.data,
    }
}

/// How long a policy may take (RFC 8461 §3.3 has a minute), which a message waits for.
const POLICY_TIMEOUT: Duration = Duration::from_secs(30);

/// Policies over HTTPS.
struct NetPolicies(Authorities);

impl Policies for NetPolicies {
    //= https://www.rfc-editor.org/rfc/rfc8461#section-3.3
    fn fetch(&self, host: String, addresses: Vec<IpAddr>) -> BoxFuture<'static, Result<Bytes, String>> {
        let authorities = self.0.clone();
        Box::pin(async move {
            let request = Request::get("/.well-known/mta-sts.txt").body(Bytes::new());
            let request = request.map_err(|e| e.to_string())?;
            let bounds = Bounds {
                time: POLICY_TIMEOUT,
                body_bytes: limits::STS_POLICY_BYTES,
            };
            let answer = exchange(&host, 443, &addresses, request, bounds, &authorities).await;
            let answer = answer.map_err(|e| e.to_string())?;
            if answer.status().as_u16() != 200 {
                return Err(format!(
                    "https://{host} answered {}, and 200 was expected",
                    answer.status()
                ));
            }
            let kind = answer.headers().get("content-type");
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("text/plain") {
                return Err(format!(
                    "https://{host} answered with {kind:?}, and text/plain was expected"
                ));
            }
            Ok(answer.into_body())
        })
    }
}
