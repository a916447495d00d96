//! ringpost-store
