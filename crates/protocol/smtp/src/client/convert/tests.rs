use super::*;
use crate::client::Fate;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use ringpost_base::Rng;

const SEVEN: Wanted = Wanted { seven_bit: true };
const EIGHT: Wanted = Wanted { seven_bit: false };

fn converted_in(message: &[u8], pieces: usize, wanted: Wanted) -> Result<Vec<u8>, Verdict> {
    let mut survey = Survey::new();
    message.chunks(pieces).for_each(|piece| survey.push(piece));
    let mut converter = survey.finish(wanted)?;
    let mut give = || {
        let mut out = Vec::new();
        for piece in message.chunks(pieces) {
            out.extend_from_slice(&converter.push(piece));
        }
        out.extend_from_slice(&converter.finish());
        converter.rewind();
        out
    };
    let once = give();
    assert_eq!(once, give(), "the second time as the first");
    Ok(once)
}

/// What a message becomes, however it is cut.
fn converted(message: &[u8], wanted: Wanted) -> Result<Vec<u8>, Verdict> {
    let whole = converted_in(message, message.len().max(1), wanted);
    for pieces in [1, 2, 3, 7, 64] {
        let cut = converted_in(message, pieces, wanted);
        assert_eq!(
            cut.as_deref().map(String::from_utf8_lossy).ok(),
            whole.as_deref().map(String::from_utf8_lossy).ok(),
            "in pieces of {pieces}"
        );
    }
    whole
}

/// What is in its parts, decoded by another parser.
fn contents(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    fn add(message: &mail_parser::Message<'_>, out: &mut Vec<(String, Vec<u8>)>) {
        for part in &message.parts {
            let kind = part.content_type().map_or_else(String::new, |kind| {
                format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default())
            });
            match &part.body {
                PartType::Message(inner) => add(inner, out),
                PartType::Multipart(_) => {}
                _ => out.push((kind, part.contents().to_vec())),
            }
        }
    }
    let mut out = Vec::new();
    add(&MessageParser::default().parse(message).unwrap(), &mut out);
    out
}

#[track_caller]
fn assert_fit(message: &[u8], seven_bit: bool) {
    for line in message.split(|b| *b == b'\n') {
        assert!(line.len() <= LINE_BYTES + 1, "{} bytes", line.len());
    }
    if seven_bit {
        let text = String::from_utf8_lossy(message);
        assert!(message.is_ascii() && !message.contains(&0), "{text}");
    }
}

const MIXED: &str = "Subject: all kinds\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"outer (1)\"\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\nFor nobody: ü\r\n--outer (1)\r\n\
    Content-Type: multipart/alternative; boundary=inner\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    --inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Grüße = Gruß \r\n.\r\nfrom\tMünchen\t\r\n--inner\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-transfer-encoding: 7BIT\r\n\r\n<p>all ASCII</p>\r\n\
    --inner--\r\n--outer (1)\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit (so)\r\n\r\n\
    \u{80}\u{81}\u{82} some bytes that are no text and need more than one line of base64, since they are many\r\n\r\n\
    --outer (1)\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Subject: within\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nü\r\n\
    --outer (1)\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nG=C3=BC\r\n\
    --outer (1)--\r\nThe end: ü\r\n";

// Guards pitfall SMTP 7: 8-bit downgrades.
#[test]
fn each_part_is_encoded_by_itself_and_says_the_same_as_before() {
    let sent = converted(MIXED.as_bytes(), SEVEN).unwrap();
    assert_fit(&sent, true);
    let text = String::from_utf8(sent.clone()).unwrap();
    assert_eq!(contents(&sent), contents(MIXED.as_bytes()), "{text}");
    for part in [
        "boundary=\"outer (1)\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
        "boundary=inner\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
        "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D Gru=C3=9F=20\r\n.\r\nfrom\tM",
        "Content-transfer-encoding: 7BIT\r\n\r\n<p>all ASCII</p>\r\n--inner--\r\n",
        "octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nwoDCgcKC",
        "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: within\r\n",
        "quoted-printable\r\n\r\nG=C3=BC\r\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_eq!(text.matches("8bit").count(), 0, "{text}");
    // Where nothing is wanted, nothing is changed.
    assert_eq!(converted(MIXED.as_bytes(), EIGHT).unwrap(), MIXED.as_bytes());
    assert_eq!(converted(&sent, SEVEN).unwrap(), sent);
}

#[test]
fn text_without_mime_is_given_a_header_that_says_what_is_known() {
    let sent = converted(b"Subject: x\r\n\r\nB\xfcro\r\n", SEVEN).unwrap();
    let expected = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
                    Content-Transfer-Encoding: quoted-printable\r\n\r\nB=FCro\r\n";
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
}

#[test]
fn what_cannot_be_converted_is_refused_for_good() {
    for message in [
        &b"Subject: \xc3\xbc\r\n\r\nx\r\n"[..],
        b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n",
        b"Content-Type: message/partial\r\n\r\n\xc3\xbc\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n\xc3\xbc\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n\xc3\xbc\r\n",
    ] {
        let verdict = converted(message, SEVEN).unwrap_err();
        assert_eq!((verdict.fate, verdict.status.as_str()), (Fate::Failed, "5.6.3"));
        assert_eq!(converted(message, EIGHT).unwrap(), message);
    }
}

#[test]
fn what_is_nested_too_deeply_is_no_seven_bit_form_of_itself() {
    let mut message = String::new();
    for depth in 0..40 {
        message += &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    }
    message += &format!("\r\n{}\r\n", "x".repeat(1_200));
    let mut survey = Survey::new();
    survey.push(message.as_bytes());
    let mut converter = survey.finish_as_far_as_possible();
    assert!(!converter.is_seven_bit());
    let mut given = converter.push(message.as_bytes()).to_vec();
    given.extend_from_slice(&converter.finish());
    assert_eq!(given, message.as_bytes());
}

// Guards pitfall SMTP 7: lines over 998 octets.
#[test]
fn long_lines_are_encoded_and_long_fields_folded() {
    let long = "long words ".repeat(300);
    let solid = "x".repeat(5_000);
    let base64 = "QUJD".repeat(1_000);
    let quoted = "=C3=BC ".repeat(500);
    let message = format!(
        "Subject: {long}end\r\nReferences: {solid}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         {solid}\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nü {long}\r\n\
         --b\r\nContent-Type: application/json\r\n\r\n{{{solid}}}\r\n--b\r\nContent-Type: image/png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n--b\r\n\r\nshort\r\n--b--\r\n"
    );
    let sent = converted(message.as_bytes(), EIGHT).unwrap();
    assert_fit(&sent, true);
    assert_eq!(contents(&sent), contents(message.as_bytes()));
    let subject = |message: &[u8]| {
        let parsed = MessageParser::default().parse(message).unwrap();
        parsed.subject().unwrap().split_whitespace().count()
    };
    assert_eq!(subject(&sent), subject(message.as_bytes()));
    let text = String::from_utf8(sent).unwrap();
    assert!(text.ends_with("--b\r\n\r\nshort\r\n--b--\r\n"), "{text}");
    // A message without any structure.
    let sent = converted(format!("Subject: x\r\n\r\n{solid}").as_bytes(), EIGHT).unwrap();
    assert_fit(&sent, true);
    assert_eq!(contents(&sent)[0].1, solid.as_bytes());
}

#[test]
fn a_signed_message_keeps_its_long_lines() {
    let solid = "x".repeat(2_000);
    let message = format!(
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{solid}\r\n--b\r\n\
         Content-Type: application/pgp-signature\r\n\r\n{solid}\r\n--b--\r\n"
    );
    assert_eq!(converted(message.as_bytes(), EIGHT).unwrap(), message.as_bytes());
}

#[test]
fn whatever_comes_out_is_fit() {
    let mut rng = Rng::from_number(7);
    let words: [&[u8]; 20] = [
        b"--b",
        b"--",
        b"--c",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\xc3\xbc",
        b"text",
        b" ",
        b"=",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/mixed; boundary=\"c\"\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n",
        b"Content-Type: application/x\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\0",
        b"\t",
    ];
    for _ in 0..3_000 {
        let mut message = Vec::new();
        for _ in 0..rng.u32() % 30 {
            let word = words[rng.u32() as usize % words.len()];
            match rng.u32() % 40 {
                0 => message.extend(word.repeat(600)),
                _ => message.extend_from_slice(word),
            }
        }
        let Ok(sent) = converted(&message, SEVEN) else {
            continue;
        };
        assert!(
            sent.is_ascii() && !sent.contains(&0),
            "{:?}",
            message.escape_ascii().to_string()
        );
        // What came out needs nothing more done.
        let again = converted(&sent, SEVEN).unwrap();
        assert!(again.is_ascii());
    }
}
