//! Domains, accounts, devices and the queue: by whoever holds the data folder, a running server or this process.

use crate::cli::{
    AccountCommand, AliasCommand, CertCommand, DeviceCommand, DkimCommand, DomainCommand, HoldArgs,
    QueueCommand, StreamCommand,
};
use anyhow::{Result, bail};
use ringpost_admin::{
    AnnouncedStream, Answer, CertificateState, Command, Control, DnsRecord, Forward, Hold, NewAccount,
    QueuedMail, Quota, RecordingState, StreamState,
};
use ringpost_base::UnixTime;
use std::io::{BufRead, IsTerminal};

/// The longest password that is taken from the standard input.
const PASSWORD_BYTES: usize = 1024;

/// `domain …`.
pub(crate) async fn domain(control: &dyn Control, command: DomainCommand) -> Result<()> {
    match command {
        DomainCommand::Add { name } => show(control, Command::DomainAdd { name }).await,
        DomainCommand::Remove { name } => show(control, Command::DomainRemove { name }).await,
        DomainCommand::List => show(control, Command::DomainList).await,
        DomainCommand::Records { name } => show(control, Command::DomainRecords { name }).await,
        DomainCommand::Dkim {
            command: DkimCommand::Rotate { name, finish },
        } => show(control, Command::DomainDkimRotate { name, finish }).await,
        DomainCommand::Set { name, catch_all } => show(control, Command::DomainSet { name, catch_all }).await,
    }
}

/// `alias …`.
pub(crate) async fn alias(control: &dyn Control, command: AliasCommand) -> Result<()> {
    let command = match command {
        AliasCommand::Add { alias, targets } => Command::AliasAdd { alias, targets },
        AliasCommand::List { domain } => Command::AliasList { domain },
        AliasCommand::Remove { alias, targets } => Command::AliasRemove { alias, targets },
    };
    show(control, command).await
}

/// `account …`.
pub(crate) async fn account(control: &dyn Control, command: AccountCommand) -> Result<()> {
    let command = match command {
        AccountCommand::Add {
            address,
            extension,
            password_stdin,
        } => Command::AccountAdd {
            address,
            extension,
            password: read_password(password_stdin)?,
        },
        AccountCommand::List => Command::AccountList,
        AccountCommand::Passwd {
            address,
            password_stdin,
        } => Command::AccountPassword {
            address,
            password: read_password(password_stdin)?,
        },
        AccountCommand::Set {
            address,
            quota,
            quota_messages,
            imap_without,
            junk,
        } => Command::AccountSet {
            address,
            junk,
            quota_bytes: quota,
            quota_messages,
            imap_without: imap_without.map(|names| match names.as_str() {
                "none" => Vec::new(),
                names => names.split(',').map(|name| name.trim().to_owned()).collect(),
            }),
        },
        AccountCommand::Forward {
            address,
            to,
            no_copy,
            off,
        } => Command::AccountForward {
            address,
            to: (off || !to.is_empty()).then_some(to),
            keep_copy: !no_copy,
        },
        AccountCommand::Remove { address } => Command::AccountRemove { address },
    };
    show(control, command).await
}

/// `device …`.
pub(crate) async fn device(control: &dyn Control, command: DeviceCommand) -> Result<()> {
    let command = match command {
        DeviceCommand::Add { address, name } => Command::DeviceAdd { address, name },
        DeviceCommand::List { address } => Command::DeviceList { address },
        DeviceCommand::Remove { address, name } => Command::DeviceRemove { address, name },
    };
    show(control, command).await
}

/// `queue …`.
pub(crate) async fn stream(control: &dyn Control, command: StreamCommand) -> Result<()> {
    let command = match command {
        StreamCommand::List { announced: false } => Command::StreamList,
        StreamCommand::List { announced: true } => Command::StreamAnnounced,
        StreamCommand::Kick {
            what,
            mount,
            redirect,
        } => match what.parse() {
            Ok(session) if !mount => Command::StreamKick { session, redirect },
            _ => Command::StreamClear {
                mount: what,
                redirect,
            },
        },
        StreamCommand::Record { mount, off } => Command::StreamRecord {
            mount,
            is_wanted: !off,
        },
    };
    show(control, command).await
}

pub(crate) async fn queue(control: &dyn Control, command: QueueCommand) -> Result<()> {
    match command {
        QueueCommand::List => show(control, Command::QueueList).await,
        QueueCommand::Show { id } => {
            let answer = control.handle(Command::QueueShow { id }).await?;
            let Answer::Queue(found) = answer else {
                bail!("expected a message, and was answered {answer:?}")
            };
            let lines = found.iter().flat_map(whole);
            super::say(&lines.map(|line| line + "\n").collect::<String>())
        }
        QueueCommand::Retry { id } => show(control, Command::QueueRetry { id }).await,
        QueueCommand::Hold { what } => match hold(what) {
            Some(what) => show(control, Command::QueueHold { what }).await,
            None => show(control, Command::QueueHolds).await,
        },
        QueueCommand::Release { what } => match hold(what.into()) {
            Some(what) => show(control, Command::QueueRelease { what }).await,
            None => bail!(
                "expected what to release: a message's number, --destination DOMAIN, --account ADDRESS, or --all"
            ),
        },
        QueueCommand::Remove { id } => show(control, Command::QueueRemove { id }).await,
    }
}

/// What the command line names.
fn hold(arguments: HoldArgs) -> Option<Hold> {
    let HoldArgs {
        id,
        destination,
        account,
        all,
    } = arguments;
    id.map(Hold::Message)
        .or(destination.map(Hold::Destination))
        .or(account.map(Hold::Account))
        .or(all.then_some(Hold::All))
}

/// `cert …`.
pub(crate) async fn cert(control: &dyn Control, command: CertCommand) -> Result<()> {
    let command = match command {
        CertCommand::Show => Command::CertShow,
        CertCommand::Renew => Command::CertRenew,
    };
    show(control, command).await
}

/// `check-store`. Fails when something was found.
pub(crate) async fn check_store(control: &dyn Control) -> Result<()> {
    show(control, Command::CheckStore).await
}

async fn show(control: &dyn Control, command: Command) -> Result<()> {
    let answer = control.handle(command).await?;
    super::say(&text(&answer))?;
    match answer {
        Answer::Findings(findings) if !findings.is_empty() => {
            bail!("the store contradicts itself, see above")
        }
        _ => Ok(()),
    }
}

/// An answer as people and scripts read it: a line a thing, fields parted by tabs.
fn text(answer: &Answer) -> String {
    let lines: Vec<String> = match answer {
        Answer::Done => vec!["done".into()],
        Answer::Noted(what) => vec![what.clone()],
        Answer::Domains(domains) => domains.clone(),
        Answer::Records(records) => records.iter().map(zone_line).collect(),
        Answer::Domain(domain) => vec![
            format!("domain\t{}", domain.name),
            format!("catch-all\t{}", domain.catch_all.as_deref().unwrap_or("none")),
        ],
        Answer::Aliases(aliases) => aliases
            .iter()
            .map(|alias| format!("{}\t{}", alias.address, alias.targets.join(",")))
            .collect(),
        Answer::Forward(forward) => vec![forwarded(forward)],
        Answer::Accounts(accounts) => accounts
            .iter()
            .map(|account| {
                let extension = account.extension.as_deref().unwrap_or("-");
                let devices = match account.devices {
                    1 => "1 device".to_string(),
                    n => format!("{n} devices"),
                };
                format!("{}\t{extension}\t{devices}", account.address)
            })
            .collect(),
        Answer::AccountCreated(account) => created(account),
        Answer::AccountSettings(set) => vec![
            format!("account\t{}", set.address),
            format!("quota\t{}", limit(set.quota_bytes, " bytes")),
            format!("quota-messages\t{}", limit(set.quota_messages, "")),
            format!(
                "imap-without\t{}",
                match set.imap_without.is_empty() {
                    true => "none".into(),
                    false => set.imap_without.join(","),
                }
            ),
            format!("junk\t{}", if set.junk { "on" } else { "off" }),
        ],
        Answer::Devices(devices) => devices
            .iter()
            .map(|device| format!("{}\t{}", device.name, device.username))
            .collect(),
        Answer::DeviceCreated(device) => vec![
            format!("device\t{}", device.name),
            format!("username\t{}", device.username),
            format!("domain\t{}", device.domain),
            format!("secret\t{}\t(shown this once)", device.secret),
        ],
        Answer::Queue(queue) => queue.iter().map(in_short).collect(),
        Answer::Holds(holds) => holds
            .iter()
            .map(|hold| match hold {
                Hold::Message(id) => format!("message\t{id}"),
                Hold::Destination(name) => format!("destination\t{name}"),
                Hold::Account(address) => format!("account\t{address}"),
                Hold::All => "all".into(),
            })
            .collect(),
        Answer::Streams(streams) => streams.iter().flat_map(stream_lines).collect(),
        Answer::Announced(announced) => announced.iter().map(announced_line).collect(),
        Answer::Certificate(certificate) => shown(certificate),
        Answer::Findings(findings) if findings.is_empty() => vec!["the store is good".into()],
        Answer::Findings(findings) => findings.clone(),
        // Questions that `import` and `export` ask, and show nobody.
        Answer::Mailboxes(_) | Answer::Messages(_) | Answer::Piece(_) => Vec::new(),
    };
    lines.into_iter().map(|line| line + "\n").collect()
}

/// A stream, and under it who publishes and reads it.
fn stream_lines(stream: &StreamState) -> Vec<String> {
    let recorded = match stream.recording {
        None => "not recorded".to_owned(),
        Some(RecordingState::Writing) => "recorded".to_owned(),
        Some(RecordingState::Waiting) => "recorded from the first key picture on".to_owned(),
        Some(RecordingState::Failing(s)) => format!("NOT RECORDED: it cannot be written, next try in {s} s"),
    };
    let encodings = stream.encodings.join(",");
    let mut lines = vec![match stream.is_played {
        true => format!("{}\t{encodings}\tplayed from files", stream.mount),
        false if encodings.is_empty() => format!("{}\tnot live", stream.mount),
        false => format!(
            "{}\t{encodings}\t{recorded}\t{} bytes came\t{} packets lost\tlast {} ms ago",
            stream.mount, stream.received_bytes, stream.lost_packets, stream.silent_ms
        ),
    }];
    if let Some(failure) = &stream.failure {
        let again = match failure.again_in_s {
            Some(seconds) => format!("tried again in {seconds} s"),
            None => "tried again when somebody reads it".into(),
        };
        let failed = match failure.attempts {
            1 => "1 attempt failed".to_owned(),
            attempts => format!("{attempts} attempts failed"),
        };
        lines.push(format!(
            "  pull\t{}\t{failed}\t{}\t{again}",
            failure.source, failure.why
        ));
    }
    lines.extend(stream.group.iter().map(|group| {
        let state = if group.is_sending { "sending" } else { "idle" };
        let announced = if group.is_announced {
            "announced"
        } else {
            "not announced"
        };
        format!(
            "  group\t{}\tttl {}\t{state}\t{announced}\t{} packets\t{} bytes",
            group.address, group.ttl, group.sent_packets, group.sent_bytes
        )
    }));
    let publisher = stream.publisher.iter().map(|session| ("publisher", session));
    let readers = stream.readers.iter().map(|session| ("reader", session));
    lines.extend(publisher.chain(readers).map(|(role, session)| {
        // What is pulled has no user here, but comes from somewhere.
        let named = [&session.user, &session.source]
            .into_iter()
            .find(|name| !name.is_empty());
        let user = named.map_or("-", String::as_str);
        let bytes = match role {
            "publisher" => session.received_bytes,
            _ => session.sent_bytes,
        };
        format!(
            "  {role}\t{}\t{user}\t{}\t{}\t{} s\t{bytes} bytes\t{} packets skipped",
            session.session, session.peer, session.transport, session.lasted_s, session.skipped_packets
        )
    }));
    lines
}

/// A session that somebody else announces. Its name is theirs to choose, and stays on its line.
fn announced_line(announced: &AnnouncedStream) -> String {
    let name: String = announced
        .name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let group = match announced.group.as_str() {
        "" => "-",
        group => group,
    };
    format!(
        "{name}\t{}\t{group}\t{}\tknown for {} s\theard {} s ago",
        announced.origin,
        announced.media.join(","),
        announced.age_s,
        announced.silent_s
    )
}

/// A certificate, and what there is to say of the next one.
fn shown(certificate: &CertificateState) -> Vec<String> {
    let issuer = match certificate.issuer.as_str() {
        "" => "-",
        issuer => issuer,
    };
    let mut lines = vec![
        format!("certificate\t{}", certificate.source),
        format!("names\t{}", certificate.names.join(",")),
        format!("issuer\t{issuer}"),
        format!("serial\t{}", certificate.serial),
        format!("from\t{}", time(certificate.not_before_s)),
        format!("until\t{}", time(certificate.not_after_s)),
    ];
    lines.extend(certificate.renewal_s.map(|at| format!("renewal\t{}", time(at))));
    if !certificate.lacking.is_empty() {
        lines.push(format!("lacking\t{}", certificate.lacking.join(",")));
    }
    lines.extend(certificate.failure.iter().map(|why| format!("failure\t{why}")));
    lines.extend(certificate.retry_s.map(|at| format!("retry\t{}", time(at))));
    lines
}

/// Where an account's mail goes, in a line.
fn forwarded(forward: &Forward) -> String {
    let (to, copy) = match (forward.to.is_empty(), forward.keeps_copy) {
        (true, _) => ("-".to_owned(), "not forwarded"),
        (false, true) => (forward.to.join(","), "a copy is kept"),
        (false, false) => (forward.to.join(","), "no copy is kept"),
    };
    format!("{}\t{to}\t{copy}", forward.address)
}

/// A queued message in a line.
fn in_short(mail: &QueuedMail) -> String {
    let recipients: Vec<&str> = mail.recipients.iter().map(|r| r.address.as_str()).collect();
    format!(
        "{}\t<{}>\t{}\t{}\t{} attempts\t{}",
        mail.id,
        mail.sender,
        destination(mail),
        recipients.join(","),
        mail.attempts,
        next(mail)
    )
}

/// The same with everything.
fn whole(mail: &QueuedMail) -> Vec<String> {
    let mut lines = vec![
        format!("id\t{}", mail.id),
        format!("sender\t<{}>", mail.sender),
        format!("destination\t{}", destination(mail)),
        format!("size\t{} bytes", mail.size_bytes),
        format!("received\t{}", time(mail.received_s)),
        format!("attempts\t{}", mail.attempts),
        format!("next\t{}", next(mail)),
    ];
    lines.extend(mail.recipients.iter().map(|recipient| {
        let said = if recipient.said.is_empty() {
            "-"
        } else {
            &recipient.said
        };
        format!("recipient\t{}\t{said}", recipient.address)
    }));
    lines
}

fn destination(mail: &QueuedMail) -> &str {
    match mail.destination.as_str() {
        "" => "here",
        there => there,
    }
}

fn next(mail: &QueuedMail) -> String {
    match mail.held.as_str() {
        _ if mail.at_work => "now".into(),
        "" => time(mail.due_s),
        why => format!("held ({why})"),
    }
}

/// A time as people and scripts read it, in UTC.
fn time(seconds: u64) -> String {
    let (year, month, day, hour, minute, second) = UnixTime::from_secs(seconds).civil();
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn limit(quota: Quota, unit: &str) -> String {
    match quota {
        Quota::Default => "default".into(),
        Quota::None => "none".into(),
        Quota::Limit(limit) => format!("{limit}{unit}"),
    }
}

/// A record as a zone file has it, with what it is for behind it.
fn zone_line(record: &DnsRecord) -> String {
    let DnsRecord {
        name,
        kind,
        data,
        note,
    } = record;
    //= https://www.rfc-editor.org/rfc/rfc1035#section-5.1
    let data = match &**kind {
        "TXT" => {
            let strings = data.as_bytes().chunks(255).map(String::from_utf8_lossy);
            let quoted = strings.map(|s| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\"")));
            quoted.collect::<Vec<_>>().join(" ")
        }
        _ => data.clone(),
    };
    format!("{name}.\tIN\t{kind}\t{data}\t; {note}")
}

fn created(account: &NewAccount) -> Vec<String> {
    let mut lines = vec![format!("account\t{}", account.address)];
    lines.extend(
        account
            .extension
            .as_ref()
            .map(|extension| format!("extension\t{extension}")),
    );
    lines.extend(
        account
            .password
            .as_ref()
            .map(|password| format!("password\t{password}\t(shown this once)")),
    );
    lines
}

fn read_password(from_stdin: bool) -> Result<Option<String>> {
    if !from_stdin {
        return Ok(None);
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type the password, which is shown, and Enter:");
    }
    first_line(stdin.lock()).map(Some)
}

fn first_line(input: impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    // Room for a line's end and for one byte that is too many.
    input
        .take(PASSWORD_BYTES as u64 + 3)
        .read_until(b'\n', &mut line)?;
    let password = String::from_utf8(line).unwrap_or_default();
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > PASSWORD_BYTES {
        bail!(
            "the standard input's first line must be the password, 1 to {PASSWORD_BYTES} bytes of UTF-8; without \
             --password-stdin one is generated"
        );
    }
    Ok(password.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_admin::{Account, NewDevice};

    #[test]
    fn the_password_is_the_first_line_and_nothing_else() {
        assert_eq!(first_line(&b"a secret \r\nmore\n"[..]).unwrap(), "a secret ");
        assert_eq!(first_line(&b"x"[..]).unwrap(), "x");
        assert_eq!(
            first_line("x".repeat(1024).as_bytes()).unwrap().len(),
            PASSWORD_BYTES
        );
        for bad in [&b""[..], b"\n", b"p\xff\n", "x".repeat(1025).as_bytes()] {
            let error = first_line(bad).unwrap_err().to_string();
            assert!(error.contains("--password-stdin"), "{error}");
        }
    }

    #[test]
    fn a_stream_shows_what_came_from_its_publisher_and_went_to_its_readers() {
        let session = |session, received_bytes, sent_bytes| ringpost_admin::StreamSession {
            session,
            user: "alice".into(),
            source: String::new(),
            peer: "192.0.2.1".into(),
            transport: "udp".into(),
            lasted_s: 7,
            received_bytes,
            sent_bytes,
            skipped_packets: 0,
        };
        let stream = StreamState {
            mount: "alice/door".into(),
            encodings: vec!["H264".into()],
            recording: None,
            is_played: false,
            silent_ms: 0,
            received_bytes: 900,
            lost_packets: 0,
            failure: None,
            group: None,
            publisher: Some(session(1, 500, 0)),
            readers: vec![session(2, 0, 300)],
        };
        let lines = stream_lines(&stream);
        assert!(lines[1].contains("\t500 bytes\t"), "{lines:?}");
        assert!(lines[2].contains("\t300 bytes\t"), "{lines:?}");
    }

    #[test]
    fn answers_are_lines_that_a_script_can_cut() {
        let account = Account {
            address: "alice@example.org".into(),
            extension: Some("11".into()),
            devices: 2,
        };
        assert_eq!(
            text(&Answer::Accounts(vec![account])),
            "alice@example.org\t11\t2 devices\n"
        );
        let device = NewDevice {
            name: "desk".into(),
            username: "alice".into(),
            domain: "example.org".into(),
            secret: "s3cret".into(),
        };
        let shown = text(&Answer::DeviceCreated(device));
        assert!(
            shown
                .lines()
                .any(|line| line.split('\t').nth(1) == Some("s3cret")),
            "{shown}"
        );
        assert_eq!(text(&Answer::Findings(Vec::new())), "the store is good\n");
    }
}
