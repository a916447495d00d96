//! ringpost-blobs
