//! ringpost-directory
