//! What is around a phone service, and leads nowhere.

use crate::voicemail::Voicemail;
use crate::world::{Dns, Exchangers, MediaPlane, NoAnswer, SipTransport, Tlsa};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use ringpost_media::LegId;
use ringpost_phone::{Answer, Question};
use ringpost_sip::{Flow, locate};
use std::sync::Mutex;

/// Keeps what leaves, and leads nowhere else.
#[derive(Default)]
pub(crate) struct Outside(pub(crate) Mutex<Vec<String>>);

impl SipTransport for Outside {
    fn send(&self, _: Flow, message: bytes::Bytes) {
        let text = String::from_utf8_lossy(&message).into_owned();
        self.0.lock().unwrap().push(text);
    }

    fn open(&self, _: &locate::Target) -> Option<Flow> {
        None
    }
}

impl Dns for Outside {
    fn exchangers(&self, _: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>> {
        ready(Ok(Exchangers::default())).boxed()
    }

    fn texts(&self, _: &str) -> BoxFuture<'static, Option<Vec<String>>> {
        ready(None).boxed()
    }

    fn tlsa(&self, _: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>> {
        ready(Ok(None)).boxed()
    }

    fn look_up(&self, _: locate::Question) -> BoxFuture<'static, Option<locate::Answer>> {
        ready(None).boxed()
    }
}

impl MediaPlane for Outside {
    fn open(&self, _: std::net::IpAddr) -> Option<ringpost_phone::MediaSocket> {
        None
    }

    fn close(&self, _: ringpost_media::PairId) {}

    fn command(&self, _: ringpost_media::Command) {}

    fn tap(&self, _: [LegId; 2]) -> async_channel::Receiver<ringpost_media::Tapped> {
        async_channel::bounded(1).1
    }
}

impl Voicemail for Outside {
    fn answer(&self, _: Question) -> BoxFuture<'static, Answer> {
        pending().boxed()
    }
}
