//! ringpost-imap
