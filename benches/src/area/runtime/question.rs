//! What a contender is asked: one line each, so that it may be written in any language.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Messages a second with a payload of so many bytes, one sender to one actor, until the last is taken.
    Tell(usize),
    /// Median microseconds until the answer, 64 bytes, one question in flight.
    Ask,
    /// Answers a second, 64 bytes, so many questions in flight.
    Asks(usize),
    /// Median and 99th percentile of [`Measure::Ask`] in microseconds while 16 MiB messages go to another actor.
    Beside,
    /// Supervised actors started on the other node a second, many at a time.
    SpawnRemote,
    /// Actors started a second on the node where they are asked for; bytes of memory that each takes there, and on the
    /// other node.
    Crowd,
    /// Median microseconds of a round trip of 64 bytes over a bare TCP connection: what this machine takes at least.
    Floor,
}

/// A measure, and of how many messages, questions or actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub measure: Measure,
    pub count: usize,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, count } = self;
        match measure {
            Measure::Tell(bytes) => write!(f, "tell {bytes} {count}"),
            Measure::Ask => write!(f, "ask {count}"),
            Measure::Asks(flying) => write!(f, "asks {flying} {count}"),
            Measure::Beside => write!(f, "beside {count}"),
            Measure::SpawnRemote => write!(f, "spawn-remote {count}"),
            Measure::Crowd => write!(f, "crowd {count}"),
            Measure::Floor => write!(f, "floor {count}"),
        }
    }
}

impl FromStr for Question {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<usize>().with_context(|| format!("no number in \"{line}\""));
        let (measure, count) = match words.as_slice() {
            ["tell", bytes, count] => (Measure::Tell(number(bytes)?), count),
            ["ask", count] => (Measure::Ask, count),
            ["asks", flying, count] => (Measure::Asks(number(flying)?), count),
            ["beside", count] => (Measure::Beside, count),
            ["spawn-remote", count] => (Measure::SpawnRemote, count),
            ["crowd", count] => (Measure::Crowd, count),
            ["floor", count] => (Measure::Floor, count),
            _ => bail!("no such question: \"{line}\""),
        };
        Ok(Self { measure, count: number(count)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_reads_back_as_it_was_written() {
        use Measure::{Ask, Asks, Beside, Crowd, Floor, SpawnRemote, Tell};
        for (n, measure) in [Tell(64), Ask, Asks(1024), Beside, SpawnRemote, Crowd, Floor].into_iter().enumerate() {
            let question = Question { measure, count: 10 + n };
            assert_eq!(question.to_string().parse::<Question>().ok(), Some(question));
        }
    }

    #[test]
    fn what_isnt_a_question_is_refused() {
        for line in ["", "tell", "tell 64", "ask many", "sing 3"] {
            assert!(line.parse::<Question>().is_err(), "{line}");
        }
    }
}
