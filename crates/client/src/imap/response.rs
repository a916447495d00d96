use super::Tag;
use super::value::{Expected, Reader, Value};
use bytes::Bytes;

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first line: `ok` to log in, `preauth` when that is not needed.
    Greeting {
        /// Whether the session is authenticated already.
        preauth: bool,
        /// For people.
        text: Bytes,
    },
    /// A command is over.
    Completed {
        /// Which.
        tag: Tag,
        /// How.
        outcome: Outcome,
        /// The response code in brackets.
        code: Option<Code>,
        /// For people.
        text: Bytes,
    },
    /// An untagged OK, NO or BAD.
    Remark {
        /// Which of the three.
        outcome: Outcome,
        /// The response code in brackets.
        code: Option<Code>,
        /// For people.
        text: Bytes,
    },
    /// The server closes the connection.
    Bye {
        /// For people.
        text: Bytes,
    },
    /// A `+` that nothing waits for.
    Continue {
        /// What it says.
        text: Bytes,
    },
    /// What the server can do.
    Capabilities(Vec<String>),
    /// The mailbox has so many messages.
    Exists(u32),
    /// So many of them are new to this session.
    Recent(u32),
    /// The message with this sequence number is gone.
    Expunge(u32),
    /// The mailbox's flags.
    Flags(Vec<String>),
    /// A message's data.
    Fetch(Fetched),
    /// The numbers that a search found.
    Search(Vec<u32>),
    /// A mailbox.
    List {
        /// `\HasNoChildren` …
        attributes: Vec<String>,
        /// Between the levels of a name; `None` for a flat name.
        delimiter: Option<String>,
        /// As written.
        name: String,
    },
    /// A mailbox that is subscribed to, as LSUB tells it.
    Subscribed {
        /// `\Noselect`, perhaps.
        attributes: Vec<String>,
        /// Between the levels of a name; `None` for a flat name.
        delimiter: Option<String>,
        /// As written.
        name: String,
    },
    /// Where mailboxes are (RFC 2342).
    Namespace {
        /// What one's own begin with, and what stands between their levels.
        personal: Vec<(String, Option<String>)>,
        /// What those of others begin with, and shared ones.
        others: Vec<String>,
    },
    /// A mailbox's numbers.
    Status {
        /// Its name.
        name: String,
        /// `MESSAGES` and its like, in upper case.
        items: Vec<(String, u64)>,
    },
    /// Anything else, as it was written.
    Other(Bytes),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
    /// Never sent: [`super::COMMANDS`] were waiting.
    Dropped,
}

/// A response code: its name in upper case, and what follows the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// `UIDVALIDITY`, `APPENDUID` …
    pub name: String,
    /// As written, for instance the number.
    pub arguments: String,
}

/// What FETCH gave of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its sequence number.
    pub sequence: u32,
    /// Item and value as they came, names in upper case: `FLAGS`, `BODY[]` …
    pub items: Vec<(String, Value)>,
}

impl Fetched {
    /// An item's value by its name in upper case.
    pub fn item(&self, name: &str) -> Option<&Value> {
        self.items
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// `UID`
    pub fn uid(&self) -> Option<u32> {
        u32::try_from(self.item("UID")?.number()?).ok()
    }

    /// `FLAGS`
    pub fn flags(&self) -> Option<Vec<String>> {
        Some(
            self.item("FLAGS")?
                .list()
                .iter()
                .filter_map(Value::text)
                .collect(),
        )
    }

    /// Whether `FLAGS` has this one; without regard to case.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags()
            .is_some_and(|flags| flags.iter().any(|known| known.eq_ignore_ascii_case(flag)))
    }

    /// `RFC822.SIZE`
    pub fn size_bytes(&self) -> Option<u64> {
        self.item("RFC822.SIZE")?.number()
    }

    /// The bytes of `BODY[section]`: empty for the whole message, `HEADER`, `TEXT`, `1.2` …
    pub fn body(&self, section: &str) -> Option<&Bytes> {
        self.item(&format!("BODY[{}]", section.to_ascii_uppercase()))?
            .bytes()
    }

    /// `ENVELOPE`
    pub fn envelope(&self) -> Option<Envelope> {
        let values = self.item("ENVELOPE")?.list();
        let text = |at: usize| values.get(at).and_then(Value::text);
        let addresses = |at: usize| {
            values
                .get(at)
                .map_or(&[][..], Value::list)
                .iter()
                .filter_map(MailAddress::parse)
                .collect()
        };
        Some(Envelope {
            date: text(0),
            subject: text(1),
            from: addresses(2),
            to: addresses(5),
            message_id: text(9),
        })
    }
}

/// The bits of an ENVELOPE that a list shows (RFC 3501 §7.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// As in the header.
    pub date: Option<String>,
    /// As in the header, encoded words and all.
    pub subject: Option<String>,
    /// Who wrote it.
    pub from: Vec<MailAddress>,
    /// To whom.
    pub to: Vec<MailAddress>,
    /// With its angle brackets.
    pub message_id: Option<String>,
}

/// An address of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress {
    /// The display name, as in the header.
    pub name: Option<String>,
    /// `mailbox@host`.
    pub address: String,
}

impl MailAddress {
    fn parse(value: &Value) -> Option<MailAddress> {
        let [name, _, mailbox, host] = value.list() else {
            return None;
        };
        Some(MailAddress {
            name: name.text(),
            address: format!("{}@{}", mailbox.text()?, host.text()?),
        })
    }
}

/// Reads one whole response.
pub(super) fn parse(response: &Bytes) -> Result<Event, Expected> {
    let mut reader = Reader::new(response);
    if reader.eat(b"+") {
        reader.eat(b" ");
        return Ok(Event::Continue {
            text: reader.rest().clone(),
        });
    }
    if !reader.eat(b"* ") {
        let tag = reader.word();
        let tag = tag
            .strip_prefix(b"a")
            .and_then(number)
            .ok_or("a tag of ours, * or +")?;
        let outcome = outcome(&reader.word()).ok_or("OK, NO or BAD behind a tag")?;
        let (code, text) = code_and_text(&mut reader);
        return Ok(Event::Completed {
            tag: Tag(tag),
            outcome,
            code,
            text,
        });
    }
    let whole = reader.rest().clone();
    let word = reader.word();
    if let Some(number) = number(&word) {
        return numbered(number, &mut reader).map(|event| event.unwrap_or(Event::Other(whole)));
    }
    Ok(match word.to_ascii_uppercase().as_slice() {
        b"OK" | b"NO" | b"BAD" => {
            let outcome = outcome(&word).unwrap_or(Outcome::Ok);
            let (code, text) = code_and_text(&mut reader);
            Event::Remark { outcome, code, text }
        }
        b"PREAUTH" => Event::Greeting {
            preauth: true,
            text: reader.rest().clone(),
        },
        b"BYE" => Event::Bye {
            text: code_and_text(&mut reader).1,
        },
        b"CAPABILITY" => Event::Capabilities(words(reader.rest())),
        b"FLAGS" => Event::Flags(reader.value()?.list().iter().filter_map(Value::text).collect()),
        b"SEARCH" => Event::Search(numbers(&mut reader)?),
        b"LIST" => {
            let (attributes, delimiter, name) = list(&mut reader)?;
            Event::List {
                attributes,
                delimiter,
                name,
            }
        }
        b"LSUB" => {
            let (attributes, delimiter, name) = list(&mut reader)?;
            Event::Subscribed {
                attributes,
                delimiter,
                name,
            }
        }
        b"NAMESPACE" => namespace(&mut reader)?,
        b"STATUS" => status(&mut reader)?,
        _ => Event::Other(whole),
    })
}

fn outcome(word: &[u8]) -> Option<Outcome> {
    match word.to_ascii_uppercase().as_slice() {
        b"OK" => Some(Outcome::Ok),
        b"NO" => Some(Outcome::No),
        b"BAD" => Some(Outcome::Bad),
        _ => None,
    }
}

fn number(word: &[u8]) -> Option<u32> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(word).ok()?.parse().ok())
        .flatten()
}

fn numbers(reader: &mut Reader) -> Result<Vec<u32>, Expected> {
    let mut found = Vec::new();
    while !reader.is_empty() {
        match reader.word() {
            word if word.is_empty() => (),
            word => found.push(number(&word).ok_or("numbers")?),
        }
    }
    Ok(found)
}

fn words(text: &[u8]) -> Vec<String> {
    let words = text.split(|b| *b == b' ').filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
        .collect()
}

/// `[CODE arguments] text`
fn code_and_text(reader: &mut Reader) -> (Option<Code>, Bytes) {
    let rest = reader.rest();
    let end = rest
        .strip_prefix(b"[")
        .and_then(|inner| inner.iter().position(|b| *b == b']'));
    let Some(end) = end else {
        return (None, rest.clone());
    };
    let inner = String::from_utf8_lossy(&rest[1..=end]).into_owned();
    let (name, arguments) = inner.split_once(' ').unwrap_or((&inner, ""));
    let code = Code {
        name: name.to_ascii_uppercase(),
        arguments: arguments.into(),
    };
    let behind = rest.get(end + 2..).unwrap_or_default();
    (
        Some(code),
        rest.slice_ref(behind.strip_prefix(b" ").unwrap_or(behind)),
    )
}

/// `* 7 EXISTS` and its like; `None` for another word.
fn numbered(number: u32, reader: &mut Reader) -> Result<Option<Event>, Expected> {
    let word = reader.word();
    Ok(Some(match word.to_ascii_uppercase().as_slice() {
        b"EXISTS" => Event::Exists(number),
        b"RECENT" => Event::Recent(number),
        b"EXPUNGE" => Event::Expunge(number),
        b"FETCH" => Event::Fetch(Fetched {
            sequence: number,
            items: items(reader)?,
        }),
        _ => return Ok(None),
    }))
}

fn items(reader: &mut Reader) -> Result<Vec<(String, Value)>, Expected> {
    if !reader.eat(b"(") {
        return Err("items in parentheses");
    }
    let mut items = Vec::new();
    loop {
        while reader.eat(b" ") {}
        if reader.eat(b")") {
            return Ok(items);
        }
        let name = reader.item_name();
        if name.is_empty() {
            return Err("an item's name");
        }
        items.push((
            String::from_utf8_lossy(&name).to_ascii_uppercase(),
            reader.value()?,
        ));
    }
}

/// A mailbox: its attributes, what stands between the levels of its name, and the name.
type Listed = (Vec<String>, Option<String>, String);

fn list(reader: &mut Reader) -> Result<Listed, Expected> {
    let attributes = reader.value()?.list().iter().filter_map(Value::text).collect();
    reader.eat(b" ");
    let delimiter = reader.value()?.text();
    reader.eat(b" ");
    let name = reader.value()?.text().ok_or("a mailbox's name")?;
    Ok((attributes, delimiter, name))
}

//= https://www.rfc-editor.org/rfc/rfc2342#section-5
fn namespace(reader: &mut Reader) -> Result<Event, Expected> {
    let mut next = || {
        let value = reader.value()?;
        reader.eat(b" ");
        let each = value.list().iter().filter_map(|one| match one.list() {
            [prefix, delimiter, ..] => Some((prefix.text()?, delimiter.text())),
            _ => None,
        });
        Ok::<_, Expected>(each.collect::<Vec<_>>())
    };
    let (personal, users, shared) = (next()?, next()?, next()?);
    let others = users.into_iter().chain(shared).map(|(prefix, _)| prefix);
    Ok(Event::Namespace {
        personal,
        others: others.collect(),
    })
}

fn status(reader: &mut Reader) -> Result<Event, Expected> {
    let name = reader.value()?.text().ok_or("a mailbox's name")?;
    reader.eat(b" ");
    let values = reader.value()?;
    let pairs = values.list().chunks_exact(2);
    let items = pairs
        .filter_map(|pair| Some((pair[0].text()?.to_ascii_uppercase(), pair[1].number()?)))
        .collect();
    Ok(Event::Status { name, items })
}
