//! COMPRESS (RFC 4978). The bytes themselves pass through the driver.

use super::output::Event;
use super::{Asked, Session, Tag};
use crate::question::Ask;

impl Session {
    //= https://www.rfc-editor.org/rfc/rfc4978#section-3
    pub(super) fn start_compress(&mut self, tag: Tag) {
        if self.compressed {
            return self.finish(tag, "BAD [COMPRESSIONACTIVE] Everything is compressed already");
        }
        // Who cannot wait would have its next command read as what it is not.
        if self.input.len() > 0 {
            return self.finish(tag, "BAD Nothing is sent behind COMPRESS before it is answered");
        }
        self.ask_then(tag, Asked::Compress, Ask::Compress);
    }

    /// Says yes, as the last that goes out as it is.
    pub(super) fn compress(&mut self, tag: Tag) {
        // What came while the question was open is no part of a compressed stream.
        if self.input.len() > 0 {
            return self.close("BYE Nothing is sent behind COMPRESS before it is answered");
        }
        while self.tell_news(true) {}
        self.out
            .put(format_args!("{tag} OK All that follows is compressed\r\n"));
        self.compressed = true;
        self.emit(Event::Compress);
    }
}
