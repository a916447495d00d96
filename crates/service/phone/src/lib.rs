//! ringpost-phone
