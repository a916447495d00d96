//! What mailboxes are for, by the names that mail programs give them.

use ringpost_imap::{MailboxName, SpecialUse};

/// The names under which mail programs make these mailboxes where they do not find one with the attribute: Apple Mail,
/// Outlook (old and new), Thunderbird, and what is common with webmail.
const NAMES: [(SpecialUse, &[&str]); 5] = [
    (
        SpecialUse::Sent,
        &["Sent", "Sent Messages", "Sent Items", "Sent Mail"],
    ),
    (
        SpecialUse::Trash,
        &["Trash", "Deleted Messages", "Deleted Items", "Deleted"],
    ),
    (SpecialUse::Junk, &["Junk", "Junk Email", "Junk E-mail", "Spam"]),
    (SpecialUse::Drafts, &["Drafts", "Draft"]),
    (SpecialUse::Archive, &["Archive", "Archives"]),
];

/// What a mailbox of this name is made for, at the top or right below INBOX.
pub(crate) fn use_of_name(name: &MailboxName) -> Option<SpecialUse> {
    let name = name.as_str();
    let last = name.strip_prefix("INBOX/").unwrap_or(name);
    let is = |known: &&str| known.eq_ignore_ascii_case(last);
    let mut uses = NAMES.into_iter();
    uses.find_map(|(special_use, names)| names.iter().any(is).then_some(special_use))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_each_program_are_known() {
        // Guards pitfall IMAP 11: what Apple Mail, Outlook and Thunderbird create.
        let of = |name: &str| use_of_name(&MailboxName::new(name).unwrap());
        for (name, special_use) in [
            ("Sent Messages", SpecialUse::Sent),
            ("Deleted Messages", SpecialUse::Trash),
            ("Sent Items", SpecialUse::Sent),
            ("Deleted Items", SpecialUse::Trash),
            ("Junk E-mail", SpecialUse::Junk),
            ("Junk Email", SpecialUse::Junk),
            ("Drafts", SpecialUse::Drafts),
            ("Archives", SpecialUse::Archive),
            ("INBOX/sent", SpecialUse::Sent),
        ] {
            assert_eq!(of(name), Some(special_use), "{name}");
        }
        for name in ["INBOX", "Work", "Work/Sent", "Sent Items/2024", "Templates"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
