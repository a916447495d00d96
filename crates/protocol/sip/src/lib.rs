//! ringpost-sip
