//! ringpost-mail
