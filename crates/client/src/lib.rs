//! ringpost-client
