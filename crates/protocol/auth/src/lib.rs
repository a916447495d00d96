//! ringpost-auth
