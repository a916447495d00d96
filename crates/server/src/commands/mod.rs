//! What the command line does beside serving.

mod carry;
mod keep;
mod people;
mod unit;

pub(crate) use carry::{Origin, export, import};
pub(crate) use keep::{backup, restore};
pub(crate) use people::{account, alias, cert, check_store, device, domain, queue, stream};
pub(crate) use unit::{hidden, service_unit};

use crate::config::{Config, REFERENCE, USUAL_FILE};
use crate::privileges;
use crate::serve::{acme, files};
use anyhow::Result;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// `config check`: the file, and the files that it names.
pub(crate) fn config_check(file: Option<&Path>) -> Result<()> {
    let config = Config::load(file)?;
    crate::logging::filter(&config.log.level).map_err(anyhow::Error::msg)?;
    files::certificate(&config)?;
    files::greeting(&config)?;
    files::smart_host_credentials(&config)?;
    files::anchors(&config)?;
    if acme::settings(&config)?.is_some() {
        acme::authorities(&config)?;
    }
    files::authorities(&config)?;
    files::played(&config)?;
    privileges::check_user(&config)?;
    if file.is_none() && !Path::new(USUAL_FILE).exists() {
        return say(&format!("there is no {USUAL_FILE}: the defaults hold\n"));
    }
    say("the configuration is good\n")
}

/// Prints `text`. A reader that has seen enough, as `head` has, is no error.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// `config default`.
pub(crate) fn config_default() -> Result<()> {
    say(REFERENCE)
}
