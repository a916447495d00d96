//! ringpost-media
