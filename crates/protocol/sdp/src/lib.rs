//! ringpost-sdp
