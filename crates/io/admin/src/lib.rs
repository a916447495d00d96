//! The way in for whoever runs the server: HTTP on a Unix socket in the data folder, and the metrics for Prometheus.
//!
//! The command line sends a [`Command`] as JSON to the socket; a [`Control`] carries it out. The same trait is
//! implemented by the [`Client`], so that a command does not care whether it acts on a running server or, when none
//! runs, on the store itself. [`Metrics`] are counted by handles, or read when they are asked for, and served on a
//! loopback address.
//!
//! ```
//! use ringpost_admin::Metrics;
//!
//! let metrics = Metrics::new();
//! let refused = metrics.counter("smtp_refused", "Messages refused at RCPT");
//! refused.add(2);
//! metrics.watch_gauge("calls", "Calls in progress", || 7.0);
//! let text = metrics.text();
//! assert!(text.contains("ringpost_smtp_refused_total 2"));
//! assert!(text.contains("ringpost_calls 7"));
//! ```
//!
//! The socket's file is its protection: only the user that runs the server (and root) can open it. There is no password
//! and nothing listens on a network but the metrics, which tell numbers and no names.

mod client;
mod command;
mod metrics;
mod server;
mod transfer;

pub use client::Client;
pub use command::{
    Account, AccountSettings, Alias, Answer, BoxFuture, CertificateState, Command, Control, Device,
    DnsRecord, DomainSettings, Forward, Hold, NewAccount, NewDevice, PullFailure, QueuedMail, Quota,
    RecordingState, Refusal, RefusalKind, StreamSession, StreamState, WaitingRecipient,
};
pub use metrics::{Counter, CounterFamily, Gauge, Histogram, Metrics};
pub use server::{AdminError, serve_control, serve_metrics};
pub use transfer::{BroughtMessage, Mailbox, PARCEL_MESSAGES, Parcel, Pieces, StoredMessage};
