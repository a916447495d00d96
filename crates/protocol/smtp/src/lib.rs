//! ringpost-smtp
