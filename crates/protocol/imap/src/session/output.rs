use crate::question::{Question, Refusal};
use crate::section::Transform;
use crate::sequence::Uid;
use bytes::Bytes;
use ringpost_base::Instant;
use std::ops::Range;

/// What a session wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// Send these bytes of a message in the selected mailbox. They have been announced: a driver that cannot give all of
    /// them must close the connection.
    Body {
        /// Whose.
        uid: Uid,
        /// Which, in the message as it is stored. With [`Transform::Fields`] at most `limits::IMAP_HEADER_BYTES`.
        range: Range<u64>,
        /// What to do with them before.
        transform: Transform,
    },
    /// Something for the driver.
    Event(Event),
    /// Nothing more, until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// What a driver has to see to.
#[derive(Clone, Debug)]
pub enum Event {
    /// Find out, and come back with `Session::handle_answer`.
    Question(Question),
    /// The next bytes of the message for which `Ask::AppendBegin` was answered with `Done`.
    Body(Bytes),
    /// Forget the message whose bytes were coming.
    BodyAborted,
    /// Go over to TLS, throwing away whatever was received; then `Session::handle_tls_started`.
    StartTls,
    /// From here on everything is compressed, in both directions (RFC 4978).
    Compress,
    /// The mailbox that was selected is no longer: its changes need not be looked for.
    Deselected,
    /// Close the connection.
    Closed,
}

/// What is said when an answer does not fit its question, which is a mistake of the server.
pub(super) const MISMATCH: &str = "NO [SERVERBUG] The server has made a mistake";

/// NO with the response code of RFC 5530 or RFC 3501 §7.1. `target` says whether a mailbox that is missing is one to
/// put messages into, so that the client may try to create it.
pub(super) fn refusal(refusal: &Refusal, target: bool) -> String {
    match refusal {
        Refusal::BadCredentials => "NO [AUTHENTICATIONFAILED] The user or the password is wrong".into(),
        //= https://www.rfc-editor.org/rfc/rfc9051#section-7.1
        Refusal::NotAllowed => "NO [AUTHORIZATIONFAILED] You may not act as that user".into(),
        Refusal::HasChildren => "NO [HASCHILDREN] There are mailboxes below it".into(),
        Refusal::Damaged => "NO [CORRUPTION] What is stored of it is damaged".into(),
        Refusal::NoSuchMailbox if target => "NO [TRYCREATE] There is no such mailbox".into(),
        Refusal::NoSuchMailbox => "NO [NONEXISTENT] There is no such mailbox".into(),
        Refusal::AlreadyExists => "NO [ALREADYEXISTS] There is one of that name already".into(),
        Refusal::Cannot(why) => format!("NO [CANNOT] {why}"),
        //= https://www.rfc-editor.org/rfc/rfc6154#section-3
        Refusal::SpecialUse(why) => format!("NO [USEATTR] {why}"),
        Refusal::OverQuota => "NO [OVERQUOTA] The account is full".into(),
        //= https://www.rfc-editor.org/rfc/rfc3516#section-4.4
        Refusal::UnknownEncoding => "NO [UNKNOWN-CTE] NUL stands where no encoding can hold it".into(),
        Refusal::TooBig => "NO [TOOBIG] The message is too large".into(),
        Refusal::Limit(what) => format!("NO [LIMIT] {what}"),
        //= https://www.rfc-editor.org/rfc/rfc5530#section-3
        Refusal::NoRoom => "NO [UNAVAILABLE] The server's disk is full; try again later".into(),
        Refusal::Unavailable => "NO [UNAVAILABLE] Not now; try again later".into(),
        // No client takes that for a wrong password and asks its user for another.
        Refusal::TooManyFailures => {
            "NO [UNAVAILABLE] Too many failed passwords from your address, wait a while".into()
        }
    }
}
