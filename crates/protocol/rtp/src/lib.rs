//! ringpost-rtp
