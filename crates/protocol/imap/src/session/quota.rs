//! QUOTA (RFC 9208): one root, of which all mailboxes are.

use super::output::{MISMATCH, refusal};
use super::{Asked, Session, Tag};
use crate::name::MailboxName;
use crate::question::{Answer, Ask, QuotaUse, Used};

/// What STORAGE counts in.
const UNIT_BYTES: u64 = 1024;

impl Session {
    pub(super) fn start_get_quota(&mut self, tag: Tag, root: &str) {
        match root.is_empty() {
            true => self.ask_then(tag, Asked::Quota(None), Ask::Quota),
            false => self.finish(tag, "NO [NONEXISTENT] The only quota root is \"\""),
        }
    }

    pub(super) fn start_get_quota_root(&mut self, tag: Tag, name: MailboxName) {
        self.ask_then(tag, Asked::Quota(Some(name)), Ask::Quota);
    }

    //= https://www.rfc-editor.org/rfc/rfc9208#section-4.2
    pub(super) fn quota_answered(&mut self, tag: Tag, name: Option<MailboxName>, answer: Answer) {
        let quota = match answer {
            Answer::Quota(quota) => quota,
            Answer::Refused(why) => return self.finish(tag, refusal(&why, false)),
            _ => return self.finish(tag, MISMATCH),
        };
        if let Some(name) = name {
            self.out.text("* QUOTAROOT ");
            self.out.mailbox(&name);
            self.out.text(" \"\"\r\n");
        }
        let QuotaUse { bytes, messages } = quota;
        //= https://www.rfc-editor.org/rfc/rfc9208#section-5.1
        // Both are rounded up: whatever is there is not nothing, and what is within the limit does not look beyond it.
        let units = Used {
            used: bytes.used.div_ceil(UNIT_BYTES),
            limit: bytes.limit.map(|limit| limit.div_ceil(UNIT_BYTES)),
        };
        let resources = [("STORAGE", units), ("MESSAGE", messages)];
        let limited = resources
            .iter()
            .filter_map(|(name, Used { used, limit })| limit.map(|limit| format!("{name} {used} {limit}")));
        let limited: Vec<String> = limited.collect();
        self.out
            .put(format_args!("* QUOTA \"\" ({})\r\n", limited.join(" ")));
        self.finish(tag, "OK Done");
    }
}
