//! The mail that tells an owner of a silent mount.

use super::Streams;
use ringpost_base::UnixTime;
use ringpost_mail::{Delivery, MailError};
use ringpost_smtp::Rfc5322Date;
use ringpost_store::AccountId;
use ringpost_stream::MountName;

/// Tells the account that a mount is named after that nothing has come since then, or that something comes again. What fails
/// is logged.
pub(super) async fn tell(streams: &Streams, mount: &MountName, silent_since: Option<UnixTime>) {
    let account = match streams.account_of(mount.first()).await {
        Ok(Some(account)) => account,
        // A mount that is named after nobody has nobody to be told.
        Ok(None) => return,
        Err(error) => return tracing::warn!(%mount, %error, "its owner cannot be told that it is silent"),
    };
    let now = streams.world.unix_now();
    let to = account.address.to_string();
    let token = streams.world.rng().token(20);
    let message = message(mount, silent_since, &to, now, &token);
    let is_silent = silent_since.is_some();
    match deliver(streams, account.id, message, now).await {
        Ok(()) => tracing::info!(%mount, to, is_silent, "the owner of a stream is told"),
        Err(error) => tracing::warn!(%mount, %error, "its owner cannot be told that it is silent"),
    }
}

async fn deliver(
    streams: &Streams,
    account: AccountId,
    message: String,
    now: UnixTime,
) -> Result<(), MailError> {
    let mail = &streams.shelves.mail;
    let letter = mail.letter(message.into()).await?;
    mail.deliver(account, &letter, Delivery::new(now)).await.map(drop)
}

//= https://www.rfc-editor.org/rfc/rfc3834#section-5
fn message(
    mount: &MountName,
    silent_since: Option<UnixTime>,
    to: &str,
    now: UnixTime,
    token: &str,
) -> String {
    let domain = to.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let (subject, text) = match silent_since {
        Some(since) => (
            format!("The stream {mount} is silent"),
            format!(
                "Nothing has come of the stream {mount} since {}.",
                Rfc5322Date(since)
            ),
        ),
        None => (
            format!("The stream {mount} is back"),
            format!("The stream {mount} is live again."),
        ),
    };
    format!(
        "From: Streams <postmaster@{domain}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\n\
         Message-ID: <{token}@{domain}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n",
        Rfc5322Date(now),
    )
}
