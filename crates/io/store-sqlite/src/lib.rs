//! ringpost-store-sqlite
