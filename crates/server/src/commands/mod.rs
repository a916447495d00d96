//! What the command line does beside serving.

mod people;
mod unit;

pub(crate) use people::{account, check_store, device, domain};
pub(crate) use unit::service_unit;

use crate::config::{Config, REFERENCE};
use crate::serve::files;
use anyhow::Result;
use std::path::Path;

/// `config check`: the file, and the files that it names.
pub(crate) fn config_check(file: Option<&Path>) -> Result<()> {
    let config = Config::load(file)?;
    crate::logging::filter(&config.log.level).map_err(anyhow::Error::msg)?;
    files::certificate(&config)?;
    files::greeting(&config)?;
    println!("the configuration is good");
    Ok(())
}

/// `config default`.
pub(crate) fn config_default() {
    print!("{REFERENCE}");
}
