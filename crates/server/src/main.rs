//! `ringpost`: one server for a group of people's phone calls, mail and streams.
//!
//! The binary reads the configuration, joins [`ringpost_node`] to real sockets, the real clock and the embedded store,
//! and carries the command line. Nothing of what the server does for its users is in here.

mod backup;
mod cli;
mod commands;
mod config;
mod control;
mod data_folder;
mod demo;
mod kdf;
mod logging;
mod ports;
mod privileges;
mod serve;
mod signals;
mod stores;
mod transfer;
mod world;

use anyhow::{Context, Result, bail};
use clap::Parser;
use cli::{AccountCommand, Cli, Command, ConfigCommand, DomainCommand};
use config::Config;
use ringpost_admin::{Client, Control};
use ringpost_store_sqlite::DataFolder;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stores::Stores;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringpost: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, as far as it does not name them itself, in one line that is safe to print.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    let lines: Vec<&str> = line.lines().map(str::trim).collect();
    let is_shown = |c: &char| !c.is_control();
    lines.join("; ").chars().filter(is_shown).collect()
}

fn run(cli: Cli) -> Result<ExitCode> {
    if let Command::Demo { listen, exit } = cli.command {
        return demo::run(listen, exit);
    }
    let file = cli.config.as_deref();
    match cli.command {
        Command::Demo { .. } => Ok(()),
        Command::Serve => serve(file),
        Command::Config {
            command: ConfigCommand::Check,
        } => commands::config_check(file),
        Command::Config {
            command: ConfigCommand::Default,
        } => commands::config_default(),
        Command::ServiceUnit => {
            let binary = std::env::current_exe().context("where is this binary?")?;
            let file = file.map(std::path::absolute).transpose()?;
            let hidden = [
                commands::hidden("the binary", &binary),
                file.as_deref()
                    .and_then(|file| commands::hidden("the configuration", file)),
            ];
            for line in hidden.into_iter().flatten() {
                eprintln!("ringpost: {line}");
            }
            commands::say(&commands::service_unit(&binary, file.as_deref()))
        }
        Command::Domain { command } => {
            let makes = matches!(command, DomainCommand::Add { .. });
            with_control(file, makes, async |control| {
                commands::domain(control, command).await
            })
        }
        Command::Account { command } => {
            let makes = matches!(command, AccountCommand::Add { .. });
            with_control(file, makes, async |control| {
                commands::account(control, command).await
            })
        }
        Command::Alias { command } => with_control(file, false, async |control| {
            commands::alias(control, command).await
        }),
        Command::Device { command } => with_control(file, false, async |control| {
            commands::device(control, command).await
        }),
        Command::Queue { command } => with_control(file, false, async |control| {
            commands::queue(control, command).await
        }),
        Command::Stream { command } => with_control(file, false, async |control| {
            commands::stream(control, command).await
        }),
        Command::Import(from) => {
            let from = commands::Origin::of(from)?;
            with_control(file, false, async |control| {
                commands::import(control, &from).await
            })
        }
        Command::Export { account, to } => with_control(file, false, async |control| {
            commands::export(control, &account, &to).await
        }),
        Command::Backup { to } => commands::backup(file, &to),
        Command::Restore { from } => return commands::restore(file, &from),
        Command::Cert { command } => with_control(file, false, async |control| {
            commands::cert(control, command).await
        }),
        Command::CheckStore => {
            with_control(file, false, async |control| commands::check_store(control).await)
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Blocks of at least this many bytes go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const RETURNED_BYTES: libc::c_int = 1024 * 1024;

/// Serves until a signal asks for the end.
fn serve(file: Option<&Path>) -> Result<()> {
    let config = Config::load(file)?;
    return_large_blocks();
    logging::start(&config.log.level).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the first port answers: until they are taken over, each of these signals kills the process at once.
        let signals = signals::Signals::listen()?;
        serve::Server::start(config).await?.run(file, signals).await
    })
}

/// Left alone, glibc keeps what was freed up to the largest block so far, in each thread's heap: the 19 MiB that each
/// password is stretched in stayed behind three times a heap, 350 MiB in all.
fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it sets a number in the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_BYTES);
    }
}

/// Runs a command on a running server, or else on the data folder itself. A folder that is not there is made only by a
/// command that `makes` something to put into it.
fn with_control(
    file: Option<&Path>,
    makes: bool,
    run: impl AsyncFnOnce(&dyn Control) -> Result<()>,
) -> Result<()> {
    let config = Config::load(file)?;
    let folder = config.data_folder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let is_new = !folder.exists();
        if is_new && !makes {
            bail!("data: {}", nothing_there(&config, &folder));
        }
        match reach(&folder).await? {
            Reached::Server(client) => run(&client).await,
            Reached::Folder(held) => {
                // What root makes in here, the server must be able to open.
                if let Some(user) = privileges::chosen_user(config.user.as_deref(), &folder)? {
                    privileges::become_user(&user, &folder)?;
                }
                let stores = Stores::open(held, &config).await?;
                let mail = stores.mail();
                mail.set_default_quota(config.mail.quota());
                run(&stores.control(mail)).await?;
                if is_new {
                    eprintln!(
                        "ringpost: no server runs with {}: that folder was made",
                        folder.display()
                    );
                }
                Ok(())
            }
        }
    })
}

/// A line for who has the wrong folder, or none yet.
fn nothing_there(config: &Config, folder: &Path) -> String {
    let whose = if config.data.is_none() && !privileges::is_root() {
        "; a server that root or systemd started has another: ask it as root"
    } else {
        ""
    };
    format!(
        "there is no folder {}; start the server, or name its configuration with --config{whose}",
        folder.display()
    )
}

/// What answers a command.
enum Reached {
    Server(Client),
    Folder(DataFolder),
}

/// How long a command waits for a server that holds the folder and does not answer yet, or no more.
const REACH_LIMIT: Duration = Duration::from_secs(10);

async fn reach(folder: &Path) -> Result<Reached> {
    let deadline = Instant::now() + REACH_LIMIT;
    loop {
        match Client::connect(&data_folder::socket(folder)).await {
            Ok(Some(client)) => return Ok(Reached::Server(client)),
            Ok(None) => {}
            Err(error) => bail!(
                "data: {}: {error}; run it as the server's user, or as root",
                folder.display()
            ),
        }
        match data_folder::hold_if_free(folder)? {
            Ok(held) => return Ok(Reached::Folder(held)),
            Err(held) if Instant::now() >= deadline => {
                bail!("data: {held}, which does not answer; it starts or ends: try again in a moment")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let denied = || std::io::Error::from_raw_os_error(libc::EACCES);
        let told = anyhow::Error::new(denied()).context("x: Permission denied (os error 13); let me read it");
        assert_eq!(
            one_line(&told),
            "x: Permission denied (os error 13); let me read it"
        );
        let untold = anyhow::Error::new(denied()).context("x cannot be read");
        assert_eq!(
            one_line(&untold),
            "x cannot be read: Permission denied (os error 13)"
        );
        let long = anyhow::Error::msg("a\n  b\u{1b}[31m");
        assert_eq!(one_line(&long), "a; b[31m");
    }
}
