//! What the loop waits for, and the tokens by which the poll names it.

use mio::Token;

use crate::ids::WorkerId;

/// The kind is in the highest bits of a token, and a number of that kind in the rest.
const KIND: u32 = usize::BITS - 4;

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Signals came.
    Signals,
    /// Somebody wrote to the notification socket.
    Notifications,
    /// A watched path changed.
    Changes,
    /// A worker wrote to the descriptor of `READY=fd:N`.
    Newline(WorkerId),
    /// A door for clients, or a client.
    Client(u64),
    /// A channel or a listener of the cluster, which the primary knows by this token.
    Cluster(Token),
}

impl Source {
    /// Its token.
    pub fn token(self) -> Token {
        let kind = |kind: usize, number: usize| Token(kind << KIND | number);
        match self {
            Self::Cluster(token) => token,
            Self::Signals => kind(1, 0),
            Self::Notifications => kind(2, 0),
            Self::Changes => kind(3, 0),
            Self::Newline(worker) => kind(4, worker.0 as usize),
            Self::Client(number) => kind(5, number as usize),
        }
    }

    /// The source that a token was made for.
    pub fn of(token: Token) -> Self {
        let number = (token.0 & !(usize::MAX << KIND)) as u64;
        match token.0 >> KIND {
            1 => Self::Signals,
            2 => Self::Notifications,
            3 => Self::Changes,
            4 => Self::Newline(WorkerId(number)),
            5 => Self::Client(number),
            _ => Self::Cluster(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_source() {
        let sources = [
            Source::Signals,
            Source::Notifications,
            Source::Changes,
            Source::Newline(WorkerId(0)),
            Source::Newline(WorkerId(1 << 40)),
            Source::Client(0),
            Source::Client(1 << 40),
            Source::Cluster(Token(0)),
            Source::Cluster(Token(1 << 40)),
        ];
        for source in sources {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
