//! The commands that bring mail from elsewhere, or take it there.

use super::say;
use crate::cli::ImportArgs;
use crate::transfer::{self, Login, Report, Source, Tls};
use anyhow::{Context, Result, bail};
use ringpost_admin::Control;
use std::path::{Path, PathBuf};

/// Where mail is brought from, and for whom.
pub(crate) struct Origin {
    account: String,
    from: From,
}

enum From {
    Maildir(PathBuf),
    Mbox { file: PathBuf, into: Option<String> },
    Imap(Source),
}

impl Origin {
    /// Reads what the command line says, and the password's file.
    pub(crate) fn of(args: ImportArgs) -> Result<Origin> {
        let from = match (args.maildir, args.mbox, args.imap) {
            (Some(path), ..) => From::Maildir(path),
            (_, Some(file), _) => From::Mbox {
                file,
                into: args.into,
            },
            (.., Some(place)) => {
                let (host, port) = host_and_port(&place, args.tls)?;
                let file = args.password_file.context("--password-file is missing")?;
                From::Imap(Source {
                    host,
                    port,
                    tls: args.tls,
                    authorities: args.ca,
                    login: Login {
                        user: args.user.context("--user is missing")?,
                        password: first_line(&file)?,
                    },
                })
            }
            (None, None, None) => bail!("expected --maildir, --mbox or --imap"),
        };
        Ok(Origin {
            account: args.account,
            from,
        })
    }
}

/// `host`, `host:port`, `[address]:port`; an IPv6 address may stand alone.
fn host_and_port(place: &str, tls: Tls) -> Result<(String, u16)> {
    let usual = match tls {
        Tls::Implicit => 993,
        Tls::Starttls | Tls::None => 143,
    };
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (place, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => Some(usual),
    };
    match port.filter(|_| !host.is_empty()) {
        Some(port) => Ok((host.to_owned(), port)),
        None => {
            bail!("--imap: expected a host, or a host and a port like mail.example.org:993, found {place:?}")
        }
    }
}

fn first_line(file: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("--password-file: {}", file.display()))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => bail!(
            "--password-file: {}: expected a password in the first line",
            file.display()
        ),
    }
}

/// `import`
pub(crate) async fn import(control: &dyn Control, origin: &Origin) -> Result<()> {
    let account = &origin.account;
    let report = match &origin.from {
        From::Maildir(path) => transfer::import_maildir(control, account, path).await?,
        From::Mbox { file, into } => transfer::import_mbox(control, account, file, into.as_deref()).await?,
        From::Imap(source) => transfer::import_imap(control, account, source).await?,
    };
    tell("imported", report)
}

/// `export`
pub(crate) async fn export(control: &dyn Control, account: &str, to: &Path) -> Result<()> {
    tell("exported", transfer::export(control, account, to).await?)
}

fn tell(what: &str, report: Report) -> Result<()> {
    let Report {
        messages,
        mailboxes,
        already_there,
        errors,
    } = report;
    say(&format!(
        "{what}\t{messages} messages\t{mailboxes} mailboxes\t{already_there} already there\t{errors} errors\n"
    ))?;
    match errors {
        0 => Ok(()),
        _ => bail!("{errors} errors, each in a line of its own above; the rest was {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_with_or_without_a_port() {
        let of = |place| host_and_port(place, Tls::Implicit).ok();
        for (place, host, port) in [
            ("mail.test", "mail.test", 993),
            ("mail.test:1993", "mail.test", 1993),
            ("[::1]:143", "::1", 143),
            ("[::1]", "::1", 993),
            ("::1", "::1", 993),
        ] {
            assert_eq!(of(place), Some((host.to_owned(), port)), "{place}");
        }
        for wrong in ["", ":993", "mail.test:", "mail.test:0", "mail.test:x"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(host_and_port("mail.test", Tls::Starttls).unwrap().1, 143);
    }
}
