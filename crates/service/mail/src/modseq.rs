//! Modification sequences between their stored and their spoken form.
//!
//! A mailbox in which nothing has happened yet is stored with none, and its first change has number 1. IMAP has no 0, and
//! a client that has seen the empty mailbox must find the first change above what it was told (RFC 7162 §3.1.2.1): so each is
//! told one higher than it is stored.

/// As IMAP speaks of it.
pub(crate) fn spoken(stored: u64) -> u64 {
    stored + 1
}

/// As it is stored; nothing is stored below what a client calls 0.
pub(crate) fn stored(spoken: u64) -> u64 {
    spoken.saturating_sub(1)
}
