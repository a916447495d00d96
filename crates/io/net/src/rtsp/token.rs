//! What epoll knows sockets by.

use ringpost_stream::hub::{ConnectionId, PairId, SocketId};

/// A number that epoll knows a socket by: what it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Waker,
    Listener(u64),
    Connection(ConnectionId),
    Socket(SocketId),
    /// Announcements of the group of this number.
    Announcements(u64),
}

impl Token {
    pub(super) fn number(self) -> u64 {
        match self {
            Token::Waker => 0,
            Token::Announcements(index) => (index + 1) << 2,
            Token::Listener(index) => index << 2 | 1,
            Token::Connection(id) => id.0 << 2 | 2,
            Token::Socket(socket) => socket.pair.0 << 3 | u64::from(socket.is_rtcp) << 2 | 3,
        }
    }

    pub(super) fn of(number: u64) -> Self {
        match number & 3 {
            0 if number == 0 => Token::Waker,
            0 => Token::Announcements((number >> 2) - 1),
            1 => Token::Listener(number >> 2),
            2 => Token::Connection(ConnectionId(number >> 2)),
            _ => Token::Socket(SocketId {
                pair: PairId(number >> 3),
                is_rtcp: number & 4 != 0,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_back() {
        let socket = |pair, is_rtcp| {
            Token::Socket(SocketId {
                pair: PairId(pair),
                is_rtcp,
            })
        };
        for token in [
            Token::Waker,
            Token::Listener(0),
            Token::Listener(7),
            Token::Connection(ConnectionId(1 << 60 | 5)),
            socket(0, false),
            socket(9, true),
            Token::Announcements(0),
            Token::Announcements(6),
        ] {
            assert_eq!(Token::of(token.number()), token);
        }
    }
}
