use crate::dictionary;

/// A function over bytes that panics when an invariant breaks.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its folder's in the corpus.
    pub name: &'static str,
    /// Feeds it one input.
    pub run: fn(&[u8]),
    /// Tokens of its protocol.
    pub dictionary: &'static [&'static [u8]],
}

/// Every target that the crates export. `cargo xtask tidy` fails when one is missing.
pub const TARGETS: &[Target] = &[
    Target {
        name: "auth-digest",
        run: ringpost_auth::fuzz::digest,
        dictionary: dictionary::DIGEST,
    },
    Target {
        name: "auth-sasl",
        run: ringpost_auth::fuzz::sasl,
        dictionary: dictionary::DIGEST,
    },
    Target {
        name: "auth-base64",
        run: ringpost_auth::fuzz::base64,
        dictionary: &[b"==", b"=", b"AAAA"],
    },
    Target {
        name: "sdp",
        run: ringpost_sdp::fuzz::target,
        dictionary: dictionary::SDP,
    },
    Target {
        name: "sdp-announcements",
        run: ringpost_sdp::fuzz::announcements,
        dictionary: dictionary::SAP,
    },
    Target {
        name: "rtp-packet",
        run: ringpost_rtp::fuzz::packet,
        dictionary: dictionary::RTP,
    },
    Target {
        name: "rtp-rtcp",
        run: ringpost_rtp::fuzz::rtcp,
        dictionary: dictionary::RTP,
    },
    Target {
        name: "rtp-telephone-event",
        run: ringpost_rtp::fuzz::telephone_event,
        dictionary: dictionary::RTP,
    },
    Target {
        name: "rtp-session",
        run: ringpost_rtp::fuzz::session,
        dictionary: dictionary::RTP,
    },
    Target {
        name: "rtp-payload-h264",
        run: ringpost_rtp::fuzz::payload_h264,
        dictionary: dictionary::PAYLOADS,
    },
    Target {
        name: "rtp-payload-h265",
        run: ringpost_rtp::fuzz::payload_h265,
        dictionary: dictionary::PAYLOADS,
    },
    Target {
        name: "rtp-payload-audio",
        run: ringpost_rtp::fuzz::payload_audio,
        dictionary: dictionary::PAYLOADS,
    },
    Target {
        name: "rtp-payload-video",
        run: ringpost_rtp::fuzz::payload_video,
        dictionary: dictionary::PAYLOADS,
    },
    Target {
        name: "codec-wav",
        run: ringpost_codec::fuzz::wav,
        dictionary: dictionary::WAV,
    },
    Target {
        name: "codec-compressed",
        run: ringpost_codec::fuzz::compressed,
        dictionary: &[],
    },
    Target {
        name: "sip-endpoint",
        run: ringpost_sip::fuzz::endpoint,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "sip-ua",
        run: ringpost_sip::fuzz::ua,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "sip-locate",
        run: ringpost_sip::fuzz::locate,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "sip-message",
        run: ringpost_sip::fuzz::message,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "sip-stream",
        run: ringpost_sip::fuzz::stream,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "sip-values",
        run: ringpost_sip::fuzz::values,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "smtp",
        run: ringpost_smtp::fuzz::target,
        dictionary: dictionary::SMTP,
    },
    Target {
        name: "smtp-client",
        run: ringpost_smtp::fuzz::client,
        dictionary: &[
            b"220 ",
            b"250-PIPELINING\r\n",
            b"250-STARTTLS\r\n",
            b"250-AUTH PLAIN\r\n",
            b"250-SIZE 1\r\n",
            b"250-SMTPUTF8\r\n",
            b"250 ok\r\n",
            b"235 ",
            b"354 ",
            b"421 ",
            b"450 4.7.1 ",
            b"550 5.1.1 ",
            b"\r\n",
        ],
    },
    Target {
        name: "smtp-convert",
        run: ringpost_smtp::fuzz::convert,
        dictionary: &[
            b"--b\r\n",
            b"--b--\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\n",
            b"Content-Type: multipart/signed; boundary=\"b\"\r\n",
            b"Content-Type: message/rfc822\r\n",
            b"Content-Type: application/x\r\n",
            b"Content-Transfer-Encoding: 8bit\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"\r\n\r\n",
            b"\xc3\xbc",
            b" ",
            b"=",
        ],
    },
    Target {
        name: "smtp-submission",
        run: ringpost_smtp::fuzz::submission,
        dictionary: &[
            b"Bcc: ",
            b"From: ",
            b"Date: ",
            b"Sender:",
            b"Message-ID: ",
            b"Return-Path: <",
            b"\r\n ",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b" :",
        ],
    },
    Target {
        name: "smtp-sts",
        run: ringpost_smtp::fuzz::sts,
        dictionary: &[
            b"v=STSv1",
            b"; id=",
            b"version: STSv1\n",
            b"mode: enforce\n",
            b"mode: none\n",
            b"mx: *.",
            b"mx: a.test\n",
            b"max_age: 86400\n",
        ],
    },
    Target {
        name: "imap-commands",
        run: ringpost_imap::fuzz::commands,
        dictionary: dictionary::IMAP,
    },
    Target {
        name: "imap-session",
        run: ringpost_imap::fuzz::session,
        dictionary: dictionary::IMAP,
    },
    Target {
        name: "pop3-session",
        run: ringpost_pop3::fuzz::session,
        dictionary: dictionary::POP3,
    },
    Target {
        name: "pop3-transform",
        run: ringpost_pop3::fuzz::transform,
        dictionary: &[b"\r\n.\r\n", b"\n.", b"\r\n\r\n", b"\r", b"\n", b".", b"\xc3\xbc"],
    },
    Target {
        name: "rtsp-reader",
        run: ringpost_rtsp::fuzz::reader,
        dictionary: dictionary::RTSP,
    },
    Target {
        name: "rtsp-server",
        run: ringpost_rtsp::fuzz::server,
        dictionary: dictionary::RTSP,
    },
    Target {
        name: "rtsp-client",
        run: ringpost_rtsp::fuzz::client,
        dictionary: dictionary::RTSP,
    },
    Target {
        name: "rtsp-tunnel",
        run: ringpost_rtsp::fuzz::tunnel,
        dictionary: &[
            b"GET / HTTP/1.0\r\n",
            b"POST / HTTP/1.0\r\n",
            b"x-sessioncookie: a\r\n",
            b"\r\n\r\n",
            b"T1BU",
            b"Tw==",
            b"T1A=",
            b"=",
        ],
    },
    Target {
        name: "rtsp-values",
        run: ringpost_rtsp::fuzz::values,
        dictionary: dictionary::RTSP,
    },
    Target {
        name: "mail-mime",
        run: ringpost_mail::fuzz::mime,
        dictionary: dictionary::MIME,
    },
    Target {
        name: "client-imap",
        run: ringpost_client::fuzz::imap,
        dictionary: dictionary::IMAP_RESPONSES,
    },
    Target {
        name: "client-phone",
        run: ringpost_client::fuzz::phone,
        dictionary: dictionary::SIP,
    },
    Target {
        name: "client-pop3",
        run: ringpost_client::fuzz::pop3,
        dictionary: &[
            b"+OK ",
            b"-ERR ",
            b"\r\n.\r\n",
            b"\r\n",
            b"\n",
            b"..",
            b"1 100\r\n",
        ],
    },
    Target {
        name: "client-smtp",
        run: ringpost_client::fuzz::smtp,
        dictionary: &[
            b"220 ",
            b"250-SIZE 1\r\n",
            b"250 ",
            b"354 ",
            b"235 ",
            b"550 ",
            b"421 ",
            b"\r\n",
        ],
    },
    Target {
        name: "sender-spf",
        run: ringpost_sender_auth::fuzz::spf,
        dictionary: &[
            b"include:",
            b"redirect=",
            b"exists:%{i}.",
            b"%{d2r.-}",
            b"a:b.test/24//64",
            b"mx ",
            b"ptr ",
            b"ip4:192.0.2.0/24",
            b"ip6:::1/0",
            b" -all",
            b"exp=",
            b"a.test",
        ],
    },
    Target {
        name: "sender-dkim",
        run: ringpost_sender_auth::fuzz::dkim,
        dictionary: &[
            b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=a.test; s=s; h=From; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n",
            b"a=ed25519-sha256;",
            b"l=1;",
            b"x=2;",
            b"From: a@a.test\r\n",
            b"\r\n\r\n",
            b"v=DKIM1; k=ed25519; p=",
        ],
    },
    Target {
        name: "sender-dmarc",
        run: ringpost_sender_auth::fuzz::dmarc,
        dictionary: &[
            b"p=reject;",
            b"sp=none;",
            b"adkim=s;",
            b"pct=50;",
            b"psd=y;",
            b"\"a\" <a@b.test>",
            b"(c)",
            b"g:;",
        ],
    },
    Target {
        name: "mail-text",
        run: ringpost_mail::fuzz::text,
        dictionary: dictionary::MIME,
    },
    Target {
        name: "directory-names",
        run: ringpost_directory::fuzz::names,
        dictionary: &[b"SRS0=", b"=", b"@", b".", b"+", b"-", b"xn--", b"a.test", b"\xc3\xbc"],
    },
    Target {
        name: "mail-forged-results",
        run: ringpost_mail::fuzz::forged_results,
        dictionary: &[
            b"Authentication-Results: mx.test;",
            b"(c)",
            b"\"",
            b"\r\n ",
            b"\r\n\r\n",
        ],
    },
    Target {
        name: "stream-file",
        run: ringpost_stream::fuzz::file,
        dictionary: &[b"moov", b"moof", b"trak", b"traf", b"trun", b"tfhd", b"mdat", b"prft", b"stsd", b"avc1"],
    },
    Target {
        name: "stream-parameter-set",
        run: ringpost_stream::fuzz::parameter_set,
        dictionary: &[],
    },
    Target {
        name: "stream-names",
        run: ringpost_stream::fuzz::names,
        dictionary: dictionary::SDP,
    },
    Target {
        name: "stream-reorder",
        run: ringpost_stream::fuzz::reorder,
        dictionary: &[],
    },
    Target {
        name: "stream-hearing",
        run: ringpost_stream::fuzz::hearing,
        dictionary: &[],
    },
    Target {
        name: "stream-recorder",
        run: ringpost_stream::recording::fuzz::recorder,
        dictionary: dictionary::PAYLOADS,
    },
    Target {
        name: "stream-player",
        run: ringpost_stream::playback::fuzz::player,
        dictionary: &[
            b"moov", b"moof", b"trun", b"tfhd", b"tfdt", b"mdat", b"prft", b"stsz", b"stss", b"ctts", b"elst", b"fmt ", b"data",
        ],
    },
    Target {
        name: "media-engine",
        run: ringpost_media::fuzz::engine,
        dictionary: dictionary::RTP,
    },
    Target {
        name: "phone",
        run: ringpost_phone::fuzz::target,
        dictionary: dictionary::SIP,
    },
];
