//! What the command line does beside serving.

mod people;
mod unit;

pub(crate) use people::{account, check_store, device, domain};
pub(crate) use unit::service_unit;

use crate::config::{Config, REFERENCE};
use anyhow::Result;
use std::path::Path;

/// `config check`.
pub(crate) fn config_check(file: Option<&Path>) -> Result<()> {
    let config = Config::load(file)?;
    crate::logging::filter(&config.log.level).map_err(anyhow::Error::msg)?;
    println!("the configuration is good");
    Ok(())
}

/// `config default`.
pub(crate) fn config_default() {
    print!("{REFERENCE}");
}
