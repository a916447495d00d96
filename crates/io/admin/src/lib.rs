//! ringpost-admin
