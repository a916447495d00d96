//! ringpost-fuzz
