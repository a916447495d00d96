//! `ringpost`: one server for a group of people's phone calls, mail and streams.
//!
//! The binary reads the configuration, joins [`ringpost_node`] to real sockets, the real clock and the embedded store,
//! and carries the command line. Nothing of what the server does for its users is in here.

mod cli;
mod commands;
#[allow(dead_code)] // Used by `serve`.
mod config;
#[allow(dead_code)] // Used by `serve`.
mod control;
#[allow(dead_code)] // Used by `serve`.
mod data_folder;
#[allow(dead_code)] // Used by `serve`.
mod kdf;
#[allow(dead_code)] // Used by `serve`.
mod logging;
#[allow(dead_code)] // Used by `serve`.
mod ports;
#[allow(dead_code)] // Used by `serve`.
mod privileges;
#[allow(dead_code)] // Used by `serve`.
mod signals;

use anyhow::{Context, Result, bail};
use clap::Parser;
use cli::{Cli, Command, ConfigCommand};
use config::Config;
use ringpost_admin::Client;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Config {
            command: ConfigCommand::Check,
        } => commands::config_check(file),
        Command::Config {
            command: ConfigCommand::Default,
        } => {
            commands::config_default();
            Ok(())
        }
        Command::ServiceUnit => {
            let binary = std::env::current_exe().context("where is this binary?")?;
            print!("{}", commands::service_unit(&binary, file));
            Ok(())
        }
        Command::Domain { command } => {
            with_control(file, async |control| commands::domain(&control, command).await)
        }
        Command::Account { command } => {
            with_control(file, async |control| commands::account(&control, command).await)
        }
        Command::Device { command } => {
            with_control(file, async |control| commands::device(&control, command).await)
        }
        Command::CheckStore => with_control(file, async |control| commands::check_store(&control).await),
    }
}

/// Runs a command on whoever holds the data folder.
fn with_control(file: Option<&Path>, run: impl AsyncFnOnce(Client) -> Result<()>) -> Result<()> {
    let folder = Config::load(file)?.data_folder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match Client::connect(&data_folder::socket(&folder)).await {
            Ok(Some(client)) => run(client).await,
            Ok(None) => bail!("no server runs on {}", folder.display()),
            Err(error) => bail!(
                "{}: {error}; run it as the server's user, or as root",
                folder.display()
            ),
        }
    })
}
