use serde::{Deserialize, Serialize};

/// Whose calls are mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Calls {
    pub(crate) mounts: Vec<String>,
    pub(crate) notice_tone: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            mounts: Vec::new(),
            notice_tone: true,
        }
    }
}

impl Calls {
    /// What its values do not show one by one.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let is_nobody = |name: &&String| name.is_empty() || name.contains(char::is_whitespace);
        match self.mounts.iter().find(is_nobody) {
            Some(name) => {
                let wrong = format!("{name:?} is nobody; write an account's name or its address");
                Err(("calls.mounts".into(), wrong))
            }
            None => Ok(()),
        }
    }
}
