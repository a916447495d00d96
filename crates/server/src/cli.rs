//! The command line.

use crate::transfer::Tls;
use clap::{Args, Parser, Subcommand};
use ringpost_admin::Quota;
use std::net::IpAddr;
use std::path::PathBuf;

/// One server for a group of people's phone calls, mail and streams.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration [default: /etc/ringpost/ringpost.toml if it exists, else the defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve,
    /// Show the main job on real sockets, then go on serving
    Demo {
        /// Listen on this address instead of loopback, so that real phones can join
        #[arg(long, value_name = "ADDR")]
        listen: Option<IpAddr>,
        /// End after the table, with status 0 if everything passed
        #[arg(long)]
        exit: bool,
    },
    /// Check or show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// The domains that the server is responsible for
    Domain {
        #[command(subcommand)]
        command: DomainCommand,
    },
    /// The people: one address, one extension, one mailbox, one password each
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Addresses that lead to others
    Alias {
        #[command(subcommand)]
        command: AliasCommand,
    },
    /// An account's phones, each with a secret of its own
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// Streams that are live or played from files
    Stream {
        #[command(subcommand)]
        command: StreamCommand,
    },
    /// Mail that waits for other servers
    Queue {
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// The certificate that is shown under TLS
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Look for what contradicts itself in the store
    CheckStore,
    /// Bring mail from elsewhere into an account, the server may run; what is there already is not brought again
    Import(ImportArgs),
    /// Write an account's mail to a tree of Maildirs, the server may run; a second time, what is new
    Export {
        /// user@domain
        account: String,
        /// A new or empty folder, or one that was exported to before
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Write the whole data folder, as it is at one moment, to a file; the server may run
    Backup {
        /// The new file, or a folder in which one is named by date and time
        #[arg(value_name = "FILE|FOLDER")]
        to: PathBuf,
    },
    /// Unpack a backup into the data folder, which must be empty, and check it
    Restore {
        /// What `backup` wrote
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Print a hardened systemd unit
    ServiceUnit,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".into()),
    }
}

/// Where mail is brought from.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("from").required(true).args(["maildir", "mbox", "imap"])))]
pub(crate) struct ImportArgs {
    /// user@domain
    pub(crate) account: String,
    /// A Maildir, with the Maildir++ folders in it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) maildir: Option<PathBuf>,
    /// A file in mbox format
    #[arg(long, value_name = "FILE")]
    pub(crate) mbox: Option<PathBuf>,
    /// The mailbox that the file of --mbox goes into [default: INBOX]
    #[arg(long, value_name = "MAILBOX", requires = "mbox", conflicts_with_all = ["maildir", "imap"])]
    pub(crate) into: Option<String>,
    /// Another IMAP server
    #[arg(long, value_name = "HOST[:PORT]", requires_all = ["user", "password_file"])]
    pub(crate) imap: Option<String>,
    /// Who signs in there
    #[arg(long, requires = "imap")]
    pub(crate) user: Option<String>,
    /// The file whose first line is the password
    #[arg(long, value_name = "FILE", requires = "imap")]
    pub(crate) password_file: Option<PathBuf>,
    /// How the connection is made private; with "none" the password is sent in the clear
    #[arg(long, value_enum, requires = "imap", default_value = "implicit")]
    pub(crate) tls: Tls,
    /// Certificates of the authorities that are believed [default: the system's]
    #[arg(long, value_name = "FILE", requires = "imap")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and say what is wrong with it
    Check,
    /// Print the commented reference: every key with its default
    Default,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Show its names, its number, how long it holds, and how it stands with the next one
    Show,
    /// Have a new one by ACME now, and show it; sessions and calls go on with the old one
    Renew,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Add a domain with keys that sign its mail, and print what the DNS is to say of it
    Add {
        /// The domain, as example.org
        name: String,
    },
    /// List the domains
    List,
    /// Remove a domain that no account, alias, forward or waiting mail uses any more
    Remove {
        /// The domain, as example.org
        name: String,
    },
    /// Print what the DNS is to say of a domain, as lines of a zone file
    Records {
        /// The domain, as example.org
        name: String,
    },
    /// The keys that sign a domain's mail
    Dkim {
        #[command(subcommand)]
        command: DkimCommand,
    },
    /// Show how a domain's mail is handled, or change it
    Set {
        /// The domain, as example.org
        name: String,
        /// Deliver mail for addresses that nobody has to this one; "none" refuses it
        #[arg(long, value_name = "ADDRESS")]
        catch_all: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// Make the next keys, unless some wait already, and print their records; once those are in the DNS, --finish has them
    /// sign
    Rotate {
        /// The domain, as example.org
        name: String,
        /// Sign with the next keys from now on
        #[arg(long)]
        finish: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Let an address lead to one or more others, in addition to those it leads to already
    Add {
        /// The alias, name@domain
        alias: String,
        /// Addresses of accounts and aliases here, or on other servers
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// List the aliases with their targets
    List {
        /// Of this domain alone
        domain: Option<String>,
    },
    /// Remove an alias, or some of its targets
    Remove {
        /// The alias, name@domain
        alias: String,
        /// The targets to remove [default: all, and the alias with them]
        targets: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Add an account; its generated password is printed once
    Add {
        /// Its address, user@domain, in one of the domains; its owner signs in with it, too
        address: String,
        /// The number that calls it [default: the next free one]
        #[arg(long, value_name = "DIGITS")]
        extension: Option<String>,
        /// Read the password from the first line of the standard input instead of generating one
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts
    List,
    /// Change an account's password; a generated one is printed once
    Passwd {
        /// user@domain
        address: String,
        /// Read the password from the first line of the standard input instead of generating one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set quotas, and what mail programs are told of; without options, show what is set
    Set {
        /// user@domain
        address: String,
        /// What its messages may take together: bytes, as 500M or 2G; none; or default, as the configuration says
        #[arg(long, value_name = "SIZE", value_parser = quota)]
        quota: Option<Quota>,
        /// How many messages it may have: a number; none; or default
        #[arg(long, value_name = "NUMBER", value_parser = quota)]
        quota_messages: Option<Quota>,
        /// Capabilities of IMAP that its programs are not told of and cannot use, as CONDSTORE,COMPRESS, and with them those
        /// that are nothing without these; none turns all on
        #[arg(long, value_name = "CAP,…")]
        imap_without: Option<String>,
        /// Whether what looks like junk goes to Junk; otherwise it goes to the inbox
        #[arg(long, value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
        junk: Option<bool>,
    },
    /// Forward an account's mail to other addresses, or show where it is forwarded to
    Forward {
        /// user@domain
        address: String,
        /// Where to, in place of what was set before
        to: Vec<String>,
        /// Keep no copy: the account sees only what could not be forwarded
        #[arg(long, requires = "to")]
        no_copy: bool,
        /// Forward it no more
        #[arg(long, conflicts_with_all = ["to", "no_copy"])]
        off: bool,
    },
    /// Remove an account with its mail and its devices
    Remove {
        /// user@domain
        address: String,
    },
}

/// Reads a limit: a number with K, M, G or T behind it (of 1024), `none` or `default`.
fn quota(text: &str) -> Result<Quota, String> {
    match text {
        "none" => return Ok(Quota::None),
        "default" => return Ok(Quota::Default),
        _ => {}
    }
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units
        .into_iter()
        .find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_lowercase()]));
    let (digits, shift) = match unit {
        Some((_, shift)) => (&text[..text.len() - 1], shift),
        None => (text, 0),
    };
    let number = digits
        .parse::<u64>()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|n| n.checked_mul(1 << shift)) {
        Some(limit) if limit < u64::MAX => Ok(Quota::Limit(limit)),
        _ => Err("expected a number, as 500M or 2G, or none, or default".into()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List what is live or played from files, with who publishes and reads it
    List {
        /// List what others announce by SAP instead: name, origin, group, age
        #[arg(long)]
        announced: bool,
    },
    /// End a session of a publisher or a reader, or those of all readers of a stream
    Kick {
        /// The session's number, as the list shows it, or the mount's name, such as alice/door
        what: String,
        /// It is a mount's name, though it looks like a number
        #[arg(long)]
        mount: bool,
        /// Tell them before to go there instead, such as rtsp://other.example.org/alice/door, and give them ten seconds for it
        #[arg(long, value_name = "URL")]
        redirect: Option<String>,
    },
    /// Record a stream while it is live, whatever the configuration says, until the server ends
    Record {
        /// The mount's name, such as alice/door
        mount: String,
        /// Record it no longer
        #[arg(long)]
        off: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List what waits for other servers, or for room here: number, sender, destination, recipients, attempts, and when it
    /// is tried next
    List,
    /// Show one message with what was said to it last
    Show {
        /// Its number, as the list shows it
        id: String,
    },
    /// Have a message tried now; one that is held, when it is released
    Retry {
        /// Its number [default: all that wait]
        id: Option<String>,
    },
    /// Hold mail back until it is released, over restarts too; alone, show what is held so
    Hold {
        #[command(flatten)]
        what: HoldArgs,
    },
    /// End a hold; what waits is tried as it is due
    Release {
        #[command(flatten)]
        what: ReleaseArgs,
    },
    /// Remove a message; its sender is not told
    Remove {
        /// Its number
        id: String,
    },
}

/// What is held: one of these.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct HoldArgs {
    /// A message, by its number
    pub(crate) id: Option<String>,
    /// All that goes to a domain, from now on
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) destination: Option<String>,
    /// All that an account sends, from now on
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) account: Option<String>,
    /// Everything, from now on
    #[arg(long)]
    pub(crate) all: bool,
}

/// Which hold ends: one of these.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct ReleaseArgs {
    /// That of a message, by its number
    pub(crate) id: Option<String>,
    /// That of what goes to a domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) destination: Option<String>,
    /// That of what an account sends; of one that is gone, by the number that `queue hold` shows
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) account: Option<String>,
    /// That of everything; what else holds a message goes on holding it
    #[arg(long)]
    pub(crate) all: bool,
}

impl From<ReleaseArgs> for HoldArgs {
    fn from(which: ReleaseArgs) -> Self {
        let ReleaseArgs {
            id,
            destination,
            account,
            all,
        } = which;
        HoldArgs {
            id,
            destination,
            account,
            all,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Add a device to an account; its secret is printed once
    Add {
        /// user@domain
        address: String,
        /// What its owner calls it: letters, digits, - and _
        name: String,
    },
    /// List an account's devices
    List {
        /// user@domain
        address: String,
    },
    /// Remove a device: its secret is worth nothing from now on
    Remove {
        /// user@domain
        address: String,
        /// The device's name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_said_is_used_or_refused() {
        let said = |words: &str| Cli::try_parse_from(words.split(' '));
        assert!(said("ringpost import a@b --mbox f --into Foo").is_ok());
        for elsewhere in ["--maildir d", "--imap h --user u --password-file f"] {
            assert!(said(&format!("ringpost import a@b {elsewhere}")).is_ok());
            assert!(said(&format!("ringpost import a@b {elsewhere} --into Foo")).is_err());
        }
    }

    #[test]
    fn a_quota_is_a_size_or_a_word() {
        assert_eq!(quota("2G"), Ok(Quota::Limit(2 << 30)));
        assert_eq!(quota("500m"), Ok(Quota::Limit(500 << 20)));
        assert_eq!(quota("0"), Ok(Quota::Limit(0)));
        assert_eq!(quota("none"), Ok(Quota::None));
        assert_eq!(quota("default"), Ok(Quota::Default));
        for bad in [
            "",
            "G",
            "-1",
            "+1",
            "1.5G",
            "99999999999T",
            "18446744073709551615",
            "ü",
        ] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_configuration_may_be_named_behind_the_command() {
        let cli = Cli::try_parse_from(["ringpost", "check-store", "--config", "a.toml"]).unwrap();
        assert_eq!(cli.config, Some("a.toml".into()));
        assert!(Cli::try_parse_from(["ringpost", "account", "add"]).is_err());
    }
}
