use bytes::Bytes;
use ringpost_base::limits;

/// A datum of a response (RFC 3501 §4). Its bytes are slices of the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `NIL`
    Nil,
    /// An atom or number, as written.
    Atom(Bytes),
    /// A quoted string or literal.
    String(Bytes),
    /// In parentheses.
    List(Vec<Value>),
}

impl Value {
    /// The number, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Atom(atom) => std::str::from_utf8(atom).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The bytes of an atom or string; `None` for NIL and lists.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Atom(bytes) | Value::String(bytes) => Some(bytes),
            Value::Nil | Value::List(_) => None,
        }
    }

    /// The text of an atom or string; what is not UTF-8 in it is replaced.
    pub fn text(&self) -> Option<String> {
        self.bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// What is in the parentheses; nothing for anything else.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }
}

/// What would have been right.
pub(super) type Expected = &'static str;

/// Reads a response from its front.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Over a whole response, with its line end.
    pub(super) fn new(response: &Bytes) -> Self {
        let end = response.strip_suffix(b"\n").unwrap_or(response);
        let end = end.strip_suffix(b"\r").unwrap_or(end).len();
        Reader {
            rest: response.slice(..end),
        }
    }

    pub(super) fn rest(&self) -> &Bytes {
        &self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.rest.split_to(length.min(self.rest.len()))
    }

    /// Takes `wanted` if it stands next.
    pub(super) fn eat(&mut self, wanted: &[u8]) -> bool {
        let there = self
            .rest
            .get(..wanted.len())
            .is_some_and(|next| next.eq_ignore_ascii_case(wanted));
        if there {
            self.take(wanted.len());
        }
        there
    }

    /// What stands before the next space, which is taken too; all of it if there is none.
    pub(super) fn word(&mut self) -> Bytes {
        let length = self
            .rest
            .iter()
            .position(|b| *b == b' ')
            .unwrap_or(self.rest.len());
        let word = self.take(length);
        self.eat(b" ");
        word
    }

    /// A name with an optional section in brackets, such as `BODY[HEADER.FIELDS (TO)]<0>`.
    pub(super) fn item_name(&mut self) -> Bytes {
        let mut in_section = false;
        let end = self.rest.iter().position(|b| {
            match b {
                b'[' => in_section = true,
                b']' => in_section = false,
                _ => (),
            }
            !in_section && matches!(b, b' ' | b'(' | b')')
        });
        let name = self.take(end.unwrap_or(self.rest.len()));
        self.eat(b" ");
        name
    }

    pub(super) fn value(&mut self) -> Result<Value, Expected> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, Expected> {
        match self.rest.first() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            Some(b'(') if depth < limits::IMAP_NESTING => self.list(depth),
            Some(b'(') => Err("less deeply nested parentheses"),
            _ => self.atom(),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Expected> {
        self.eat(b"(");
        let mut values = Vec::new();
        loop {
            while self.eat(b" ") {}
            if self.eat(b")") {
                return Ok(Value::List(values));
            }
            values.push(self.value_at(depth + 1)?);
        }
    }

    fn atom(&mut self) -> Result<Value, Expected> {
        let special = |b: &u8| matches!(b, b' ' | b'(' | b')' | b'"' | b'{') || *b < 0x20;
        let length = self.rest.iter().position(special).unwrap_or(self.rest.len());
        match self.take(length) {
            atom if atom.is_empty() => Err("a value"),
            atom if atom.eq_ignore_ascii_case(b"NIL") => Ok(Value::Nil),
            atom => Ok(Value::Atom(atom)),
        }
    }

    fn quoted(&mut self) -> Result<Value, Expected> {
        self.eat(b"\"");
        let mut escaped = false;
        let mut any_escaped = false;
        let end = self.rest.iter().position(|b| match b {
            _ if std::mem::take(&mut escaped) => false,
            b'\\' => {
                (escaped, any_escaped) = (true, true);
                false
            }
            b => *b == b'"',
        });
        let text = self.take(end.ok_or("a closing quote")?);
        self.eat(b"\"");
        if !any_escaped {
            return Ok(Value::String(text));
        }
        let mut plain = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            plain.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
        }
        Ok(Value::String(plain.into()))
    }

    fn literal(&mut self) -> Result<Value, Expected> {
        let end = self
            .rest
            .iter()
            .position(|b| *b == b'\n')
            .ok_or("a line end behind a literal's length")?;
        let line = self.take(end + 1);
        let length = literal_length(&line).ok_or("a literal's length")?;
        if length > self.rest.len() {
            return Err("a literal of the length told");
        }
        Ok(Value::String(self.take(length)))
    }
}

/// The length of the literal that a line announces at its end.
pub(super) fn literal_length(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let digits = &line[line.iter().rposition(|b| *b == b'{')? + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A length that no number can hold is over every bound.
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX))
}
