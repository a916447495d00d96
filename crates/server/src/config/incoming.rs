use super::Network;
use ringpost_directory::is_domain;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Incoming {
    pub(crate) verify: bool,
    pub(crate) reject: bool,
    pub(crate) relays: Vec<Network>,
    pub(crate) junk_score: f64,
    pub(crate) block_lists: Vec<BlockList>,
    pub(crate) greylist: bool,
    pub(crate) greylist_delay_s: u32,
}

/// A block list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockList {
    pub(crate) zone: String,
    #[serde(default)]
    pub(crate) action: ListAction,
    #[serde(default = "list_score")]
    pub(crate) score: f64,
}

fn list_score() -> f64 {
    4.0
}

/// What is done with who is in a block list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListAction {
    #[default]
    Score,
    Refuse,
}

/// More points than this say nothing more.
const MOST_POINTS: f64 = 1_000.0;

impl Incoming {
    /// What its values do not show one by one.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: String| Err((format!("incoming.{key}"), wrong));
        if !(0.1..=MOST_POINTS).contains(&self.junk_score) {
            return wrong("junk_score", "is out of range; it may be 0.1 to 1000".into());
        }
        if self.greylist_delay_s > 86_400 {
            return wrong("greylist_delay_s", "is out of range; it may be 0 to 86400".into());
        }
        for list in &self.block_lists {
            if !is_domain(list.zone.trim_end_matches('.')) {
                let zone = &list.zone;
                return wrong(
                    "block_lists",
                    format!("{zone:?} is no zone; write it like list.example.net"),
                );
            }
            if !(-MOST_POINTS..=MOST_POINTS).contains(&list.score) {
                return wrong(
                    "block_lists",
                    "a score is out of range; it may be -1000 to 1000".into(),
                );
            }
        }
        Ok(())
    }
}

/// This machine.
pub(super) fn loopback() -> Vec<Network> {
    let networks = ["127.0.0.0/8", "::1/128"].into_iter();
    networks.filter_map(|network| network.parse().ok()).collect()
}

impl Default for Incoming {
    fn default() -> Self {
        // Programs of the same machine prove nothing, and are asked for nothing.
        Incoming {
            verify: true,
            reject: true,
            relays: loopback(),
            junk_score: 5.0,
            block_lists: Vec::new(),
            greylist: false,
            greylist_delay_s: 300,
        }
    }
}
