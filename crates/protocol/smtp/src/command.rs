//! One command line, parsed (RFC 5321 §4.1.1 and the extensions that the server announces).

use crate::dsn::{MailDsn, Notify, RcptDsn, Return, is_envelope_id, is_original, xtext};
use crate::path::{ForwardPath, Mailbox, PathError, ReversePath, Tokens};
use crate::{Body, Extensions};
use ringpost_auth::sasl::Mechanism;

/// A command as it stands in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Helo(&'a str),
    Ehlo(&'a str),
    Lhlo(&'a str),
    Mail {
        from: ReversePath,
        params: MailParams,
    },
    Rcpt {
        to: ForwardPath,
        dsn: RcptDsn,
    },
    Data,
    Bdat {
        size_bytes: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth {
        mechanism: Option<Mechanism>,
        initial: Option<&'a str>,
    },
    /// Known by name and not done here.
    NotImplemented,
}

/// What MAIL says beside the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailParams {
    pub(crate) size_bytes: Option<u64>,
    pub(crate) body: Option<Body>,
    pub(crate) utf8: bool,
    pub(crate) dsn: MailDsn,
}

/// Why a line is no command; the session knows the reply to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No verb that is known.
    Verb,
    /// An argument where none may be, or none where one must be, or not as its grammar wants it; with what was expected.
    Argument(&'static str),
    Sender(PathError),
    Recipient(PathError),
    /// A MAIL or RCPT parameter that was not announced.
    Parameter,
    /// One of this name that came before.
    ParameterTwice(&'static str),
    /// A parameter whose value is not as its extension wants it; with what was expected.
    ParameterValue(&'static str),
}

impl<'a> Command<'a> {
    /// Parses a line without its CRLF.
    pub(crate) fn parse(line: &'a [u8], extensions: Extensions) -> Result<Self, Malformed> {
        // White space before the CRLF is to be tolerated.
        //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1
        let line = line.trim_ascii_end();
        let text = std::str::from_utf8(line).map_err(|_| Malformed::Argument("UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(Malformed::Argument("no control characters"));
        }
        let (verb, argument) = match text.split_once(' ') {
            Some((verb, argument)) => (verb, Some(argument)),
            None => (text, None),
        };
        let known = |name: &str| verb.eq_ignore_ascii_case(name);
        let none = |command| {
            if argument.is_none() {
                Ok(command)
            } else {
                Err(Malformed::Argument("nothing behind the command"))
            }
        };
        if known("EHLO") {
            client_name(argument).map(Command::Ehlo)
        } else if known("LHLO") {
            client_name(argument).map(Command::Lhlo)
        } else if known("HELO") {
            client_name(argument).map(Command::Helo)
        } else if known("MAIL") {
            mail(argument.unwrap_or_default(), extensions)
        } else if known("RCPT") {
            rcpt(argument.unwrap_or_default(), extensions)
        } else if known("DATA") {
            none(Command::Data)
        } else if known("BDAT") {
            bdat(argument.unwrap_or_default())
        } else if known("RSET") {
            none(Command::Rset)
        } else if known("NOOP") {
            Ok(Command::Noop)
        } else if known("QUIT") {
            none(Command::Quit)
        } else if known("VRFY") {
            argument
                .map(|_| Command::Vrfy)
                .ok_or(Malformed::Argument("a name"))
        } else if known("HELP") {
            Ok(Command::Help)
        } else if known("STARTTLS") {
            //= https://www.rfc-editor.org/rfc/rfc3207#section-4
            none(Command::StartTls)
        } else if known("AUTH") {
            auth(argument.unwrap_or_default())
        } else if known("EXPN") {
            argument
                .map(|_| Command::Expn)
                .ok_or(Malformed::Argument("a name"))
        } else if ["TURN", "ETRN", "ATRN", "SEND", "SOML", "SAML"]
            .into_iter()
            .any(known)
        {
            Ok(Command::NotImplemented)
        } else {
            Err(Malformed::Verb)
        }
    }
}

/// What a client calls itself. A wrong name is no reason to refuse mail, so this takes what is harmless in a trace line
/// and in a log: the underscores and bare host names that programs on desks send included.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4
fn client_name(argument: Option<&str>) -> Result<&str, Malformed> {
    let name = argument.unwrap_or_default();
    let harmless = |c: char| c.is_alphanumeric() || "-._:[]".contains(c);
    let ok = !name.is_empty() && name.len() <= 255 && name.chars().all(harmless);
    match ok {
        true => Ok(name),
        false => Err(Malformed::Argument(
            "the client's name, or its address in brackets",
        )),
    }
}

fn mail<'a>(argument: &str, extensions: Extensions) -> Result<Command<'a>, Malformed> {
    let mut tokens = Tokens::new(argument);
    if !tokens.eat_word("FROM:") {
        return Err(Malformed::Argument("FROM:<address>"));
    }
    // Scanners and printers put a space here, and nothing else can be meant by it.
    tokens.eat(' ');
    let path = tokens.rest();
    let from = tokens.reverse_path().map_err(Malformed::Sender)?;
    let is_ascii = path[..path.len() - tokens.rest().len()].is_ascii();
    let params = mail_params(tokens, extensions)?;
    if !is_ascii && !params.utf8 {
        return Err(Malformed::Sender(PathError::NeedsUtf8));
    }
    Ok(Command::Mail { from, params })
}

fn mail_params(tokens: Tokens<'_>, extensions: Extensions) -> Result<MailParams, Malformed> {
    let mut params = MailParams::default();
    let mut auth = false;
    for param in Params(tokens) {
        let (name, value) = param?;
        let once = |is_again: bool, name| match is_again {
            true => Err(Malformed::ParameterTwice(name)),
            false => Ok(()),
        };
        if !extensions.extended {
            return Err(Malformed::Parameter);
        } else if name.eq_ignore_ascii_case("SIZE") {
            //= https://www.rfc-editor.org/rfc/rfc1870#section-5
            let digits = value.filter(|v| v.len() <= 20 && v.bytes().all(|b| b.is_ascii_digit()));
            let size_bytes = digits
                .and_then(|v| v.parse().ok())
                .ok_or(Malformed::ParameterValue("SIZE=, with 20 digits at most"))?;
            once(params.size_bytes.replace(size_bytes).is_some(), "SIZE")?;
        } else if name.eq_ignore_ascii_case("BODY") {
            let body = value.and_then(Body::from_name);
            let body = body.ok_or(Malformed::ParameterValue("BODY=7BIT or BODY=8BITMIME"))?;
            once(params.body.replace(body).is_some(), "BODY")?;
        } else if name.eq_ignore_ascii_case("SMTPUTF8") {
            if value.is_some() {
                return Err(Malformed::ParameterValue("SMTPUTF8 without a value"));
            }
            once(std::mem::replace(&mut params.utf8, true), "SMTPUTF8")?;
        } else if name.eq_ignore_ascii_case("RET") {
            //= https://www.rfc-editor.org/rfc/rfc3461#section-4.3
            let ret = value.and_then(Return::parse);
            let ret = ret.ok_or(Malformed::ParameterValue("RET=FULL or RET=HDRS"))?;
            once(params.dsn.ret.replace(ret).is_some(), "RET")?;
        } else if name.eq_ignore_ascii_case("ENVID") {
            let id = value
                .filter(|v| is_envelope_id(v))
                .ok_or(Malformed::ParameterValue(
                    "ENVID= and printable characters in xtext, 100 at most",
                ))?;
            let before = std::mem::replace(&mut params.dsn.envelope_id, id.to_owned());
            once(!before.is_empty(), "ENVID")?;
        } else if name.eq_ignore_ascii_case("AUTH") && extensions.auth {
            // Nobody who connects is trusted to say who else wrote a message: checked, and treated as `<>`.
            //= https://www.rfc-editor.org/rfc/rfc4954#section-5
            if !value.is_some_and(is_auth_value) {
                return Err(Malformed::ParameterValue(
                    "AUTH=<> or AUTH= and an address in xtext",
                ));
            }
            once(std::mem::replace(&mut auth, true), "AUTH")?;
        } else {
            return Err(Malformed::Parameter);
        }
    }
    Ok(params)
}

fn rcpt<'a>(argument: &str, extensions: Extensions) -> Result<Command<'a>, Malformed> {
    let mut tokens = Tokens::new(argument);
    if !tokens.eat_word("TO:") {
        return Err(Malformed::Argument("TO:<address>"));
    }
    tokens.eat(' ');
    let path = tokens.rest();
    let to = tokens.forward_path().map_err(Malformed::Recipient)?;
    let is_ascii = path[..path.len() - tokens.rest().len()].is_ascii();
    let dsn = rcpt_params(tokens, extensions)?;
    if !is_ascii && !extensions.utf8 {
        return Err(Malformed::Recipient(PathError::NeedsUtf8));
    }
    Ok(Command::Rcpt { to, dsn })
}

fn rcpt_params(tokens: Tokens<'_>, extensions: Extensions) -> Result<RcptDsn, Malformed> {
    let (mut notify, mut original) = (None, None);
    for param in Params(tokens) {
        let (name, value) = param?;
        if !extensions.extended {
            return Err(Malformed::Parameter);
        } else if name.eq_ignore_ascii_case("NOTIFY") {
            let value = value.and_then(Notify::parse).ok_or(Malformed::ParameterValue(
                "NOTIFY=NEVER, or NOTIFY= and some of SUCCESS, FAILURE and DELAY with commas between",
            ))?;
            if notify.replace(value).is_some() {
                return Err(Malformed::ParameterTwice("NOTIFY"));
            }
        } else if name.eq_ignore_ascii_case("ORCPT") {
            let value = value.filter(|v| is_original(v, extensions.utf8));
            let value = value.ok_or(Malformed::ParameterValue(
                "ORCPT=, a type, ; and an address as the type wants it, in ASCII unless MAIL said SMTPUTF8",
            ))?;
            if original.replace(value.to_owned()).is_some() {
                return Err(Malformed::ParameterTwice("ORCPT"));
            }
        } else {
            return Err(Malformed::Parameter);
        }
    }
    Ok(RcptDsn {
        notify: notify.unwrap_or_default(),
        original: original.unwrap_or_default(),
    })
}

/// `SP keyword ["=" value]`, again and again.
struct Params<'a>(Tokens<'a>);

impl<'a> Iterator for Params<'a> {
    type Item = Result<(&'a str, Option<&'a str>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let tokens = &mut self.0;
        if tokens.rest().is_empty() {
            return None;
        }
        if !tokens.eat(' ') {
            return Some(Err(Malformed::Argument(
                "a space and a parameter behind the address",
            )));
        }
        let name = tokens.take_while(|c| c.is_ascii_alphanumeric() || c == '-');
        let value = tokens
            .eat('=')
            .then(|| tokens.take_while(|c| c > ' ' && c != '=' && c != '\u{7f}'));
        if name.is_empty() || name.starts_with('-') || value == Some("") {
            return Some(Err(Malformed::Argument(
                "a parameter behind one space, with = and a value or without",
            )));
        }
        Some(Ok((name, value)))
    }
}

/// `<>`, or a mailbox in xtext (RFC 3461 §4).
fn is_auth_value(value: &str) -> bool {
    value == "<>" || xtext(value).is_some_and(|text| Mailbox::parse(&text).is_ok())
}

//= https://www.rfc-editor.org/rfc/rfc3030#section-2
fn bdat<'a>(argument: &str) -> Result<Command<'a>, Malformed> {
    let malformed = Malformed::Argument("the number of octets, with LAST behind it or without");
    let (size, last) = match argument.split_once(' ') {
        Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(malformed),
        None => (argument, false),
    };
    if size.is_empty() || size.len() > 18 || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed);
    }
    let size_bytes = size.parse().map_err(|_| malformed)?;
    Ok(Command::Bdat { size_bytes, last })
}

fn auth(argument: &str) -> Result<Command<'_>, Malformed> {
    let (name, initial) = match argument.split_once(' ') {
        Some((name, initial)) => (name, Some(initial)),
        None => (argument, None),
    };
    if name.is_empty() || initial.is_some_and(|i| i.is_empty() || i.contains(' ')) {
        let expected = "a mechanism, with an initial response in base64 behind it or without";
        return Err(Malformed::Argument(expected));
    }
    Ok(Command::Auth {
        mechanism: Mechanism::from_name(name),
        initial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Extensions = Extensions {
        extended: true,
        auth: true,
        utf8: true,
    };

    const ARGUMENT: Malformed = Malformed::Argument("");
    const VALUE: Malformed = Malformed::ParameterValue("");

    fn without_words(why: Malformed) -> Malformed {
        match why {
            Malformed::Argument(_) => ARGUMENT,
            Malformed::ParameterValue(_) => VALUE,
            other => other,
        }
    }

    fn parse(line: &str) -> Result<Command<'_>, Malformed> {
        Command::parse(line.as_bytes(), ALL)
    }

    #[test]
    fn verbs_in_any_case_and_trailing_space() {
        assert_eq!(parse("quit"), Ok(Command::Quit));
        assert_eq!(parse("DaTa \t"), Ok(Command::Data));
        assert_eq!(parse("RSET now").map_err(without_words), Err(ARGUMENT));
        assert_eq!(parse("XYZZY"), Err(Malformed::Verb));
        assert_eq!(parse(""), Err(Malformed::Verb));
        assert_eq!(parse("EXPN list"), Ok(Command::Expn));
        assert_eq!(parse("TURN"), Ok(Command::NotImplemented));
        for needed in ["EXPN", "VRFY"] {
            assert_eq!(parse(needed).map_err(without_words), Err(ARGUMENT));
        }
        assert_eq!(parse("NOOP\u{0}").map_err(without_words), Err(ARGUMENT));
        assert_eq!(
            Command::parse(b"NOOP \xff", ALL).map_err(without_words),
            Err(ARGUMENT)
        );
    }

    #[test]
    fn parameters_of_announced_extensions_only_and_each_once() {
        let ok = |line: &str| match parse(line) {
            Ok(Command::Mail { params, .. }) => params,
            other => panic!("{line}: {other:?}"),
        };
        let params = ok("MAIL FROM:<a@b> SIZE=1000 BODY=8BITMIME SMTPUTF8 AUTH=<>");
        assert_eq!(
            params,
            MailParams {
                size_bytes: Some(1000),
                body: Some(Body::EightBit),
                utf8: true,
                dsn: MailDsn::default(),
            }
        );
        ok("mail from: <a@b> auth=e+3Dmc2@example.com");
        for (line, why) in [
            ("MAIL FROM:<a@b> RET=NONE", VALUE),
            (
                "MAIL FROM:<a@b> RET=FULL RET=FULL",
                Malformed::ParameterTwice("RET"),
            ),
            ("MAIL FROM:<a@b> ENVID", VALUE),
            ("MAIL FROM:<a@b> ENVID=a+0D+0Ab", VALUE),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", Malformed::ParameterTwice("SIZE")),
            ("MAIL FROM:<a@b> SIZE", VALUE),
            ("MAIL FROM:<a@b> SIZE=-1", VALUE),
            ("MAIL FROM:<a@b> SIZE=99999999999999999999", VALUE),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", VALUE),
            ("MAIL FROM:<a@b> AUTH=e+3", VALUE),
            ("MAIL FROM:<a@b>SIZE=1", ARGUMENT),
            ("MAIL FROM:<a@b>  SIZE=1", ARGUMENT),
            ("MAIL FROM <a@b>", ARGUMENT),
            ("RCPT TO:<a@b> SIZE=1", Malformed::Parameter),
            ("RCPT TO:<a@b> NOTIFY=NEVER,DELAY", VALUE),
            (
                "RCPT TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY",
                Malformed::ParameterTwice("NOTIFY"),
            ),
            ("RCPT TO:<a@b> ORCPT=a@b", VALUE),
        ] {
            assert_eq!(parse(line).map_err(without_words), Err(why), "{line}");
        }
        let plain = Extensions {
            extended: false,
            auth: false,
            utf8: false,
        };
        assert_eq!(
            Command::parse(b"MAIL FROM:<a@b> SIZE=1", plain),
            Err(Malformed::Parameter)
        );
    }

    #[test]
    fn what_the_sender_wants_to_be_told_is_read_and_written_alike() {
        let Ok(Command::Mail { params, .. }) = parse("MAIL FROM:<a@b> RET=hdrs ENVID=QQ+2B1") else {
            panic!("it is good")
        };
        assert_eq!(params.dsn.to_string(), " RET=HDRS ENVID=QQ+2B1");
        let Ok(Command::Rcpt { dsn, .. }) = parse("RCPT TO:<a@b> ORCPT=rfc822;A+2Bx@b NOTIFY=delay,success")
        else {
            panic!("it is good")
        };
        assert_eq!(dsn.to_string(), " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A+2Bx@b");
    }

    #[test]
    fn addresses_beyond_ascii_need_smtputf8() {
        let utf8 = Malformed::Sender(PathError::NeedsUtf8);
        assert_eq!(parse("MAIL FROM:<jörg@example.org>"), Err(utf8));
        assert!(parse("MAIL FROM:<jörg@exämple.org> SMTPUTF8").is_ok());
        let without = Extensions { utf8: false, ..ALL };
        let line = "RCPT TO:<jörg@example.org>";
        assert_eq!(
            Command::parse(line.as_bytes(), without),
            Err(Malformed::Recipient(PathError::NeedsUtf8))
        );
        assert!(parse(line).is_ok());
        // A domain alone needs it too, on the wire; what it means is ASCII.
        let line = "RCPT TO:<joerg@BÜCHER.example>";
        assert_eq!(
            Command::parse(line.as_bytes(), without),
            Err(Malformed::Recipient(PathError::NeedsUtf8))
        );
        let Ok(Command::Rcpt { to, .. }) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(to.to_string(), "<joerg@xn--bcher-kva.example>");
        assert!(to.mailbox().is_some_and(crate::Mailbox::is_ascii));
        assert!(matches!(
            parse("RCPT TO:<joerg@-ü.example>"),
            Err(Malformed::Recipient(PathError::Syntax { .. }))
        ));
    }

    #[test]
    fn bdat_counts_in_decimal() {
        assert_eq!(
            parse("BDAT 86 last"),
            Ok(Command::Bdat {
                size_bytes: 86,
                last: true
            })
        );
        assert_eq!(
            parse("BDAT 0"),
            Ok(Command::Bdat {
                size_bytes: 0,
                last: false
            })
        );
        for bad in [
            "BDAT",
            "BDAT LAST",
            "BDAT -1",
            "BDAT 1 2",
            "BDAT 1  LAST",
            "BDAT 9999999999999999999",
        ] {
            assert_eq!(parse(bad).map_err(without_words), Err(ARGUMENT), "{bad}");
        }
    }

    #[test]
    fn names_that_desks_send_are_taken_and_lines_of_their_own_are_not() {
        for name in [
            "mail.example.org",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            "MY_LAPTOP",
            "localhost",
        ] {
            assert_eq!(parse(&format!("EHLO {name}")), Ok(Command::Ehlo(name)));
        }
        for bad in ["EHLO", "EHLO ", "EHLO a b", "EHLO a;b", "EHLO <a>"] {
            assert_eq!(parse(bad).map_err(without_words), Err(ARGUMENT), "{bad}");
        }
    }
}
