/// What waits in a mailbox, as a message-summary tells it (RFC 3842 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lamp {
    /// Whether the lamp is lit.
    pub is_lit: bool,
    /// New voice messages.
    pub new: u32,
    /// Old voice messages.
    pub old: u32,
}

impl Lamp {
    /// From the body of a NOTIFY; `None` without its obligatory first line.
    pub(super) fn parse(body: &[u8]) -> Option<Lamp> {
        let text = std::str::from_utf8(body).ok()?;
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(known, _)| known.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let is_lit = field("Messages-Waiting")?.eq_ignore_ascii_case("yes");
        // New and old, with the urgent ones of each behind in parentheses.
        let counts = field("Voice-Message").and_then(|value| value.split('(').next()?.trim().split_once('/'));
        let (new, old) = counts.map_or((0, 0), |(new, old)| {
            (new.trim().parse().unwrap_or(0), old.trim().parse().unwrap_or(0))
        });
        Some(Lamp { is_lit, new, old })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_3842_are_read() {
        let body = b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n";
        assert_eq!(
            Lamp::parse(body),
            Some(Lamp {
                is_lit: true,
                new: 2,
                old: 8
            })
        );
        assert_eq!(Lamp::parse(b"Messages-Waiting: no\r\n"), Some(Lamp::default()));
        assert_eq!(Lamp::parse(b"Voice-Message: 1/0\r\n"), None);
    }
}
