//! Who is asked what, and of how many.

use anyhow::Result;

use super::contender::{Contender, Field, Who};
use super::question::{Measure, Question};
use super::results::Results;
use crate::area::Run;

/// Rounds of a full run.
const ROUNDS: usize = 5;
/// How many times fewer a quick run has of everything.
const QUICKER: usize = 100;
/// A quick run still has so many in flight.
const LEAST: usize = 16;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A measure, and of how many for each who is asked: about a second, or half of one, at the speed of each.
type Step = (Measure, &'static [(Who, usize)]);

const STEPS: [Step; 9] = [
    (Measure::Floor, &[(Who::Fleet, 3_000)]),
    (
        Measure::Tell(64),
        &[
            (Who::Fleet, 300_000),
            (Who::Stock, 200_000),
            (Who::StockTls, 200_000),
            (Who::Erlang, 300_000),
            (Who::Ray, 5_000),
        ],
    ),
    (Measure::Tell(KIB), &[(Who::Fleet, 200_000)]),
    (Measure::Tell(64 * KIB), &[(Who::Fleet, 10_000)]),
    (
        Measure::Tell(16 * MIB),
        &[
            (Who::Fleet, 80),
            (Who::FleetApart, 40),
            (Who::Stock, 20),
            (Who::StockTls, 20),
            (Who::Erlang, 40),
            (Who::Ray, 60),
        ],
    ),
    (
        Measure::Ask,
        &[(Who::Fleet, 5_000), (Who::Stock, 5_000), (Who::StockTls, 5_000), (Who::Erlang, 5_000), (Who::Ray, 500)],
    ),
    (
        Measure::Asks(64),
        &[
            (Who::Fleet, 100_000),
            (Who::Stock, 50_000),
            (Who::StockTls, 50_000),
            (Who::Erlang, 50_000),
            (Who::Ray, 2_000),
        ],
    ),
    (
        Measure::Asks(1024),
        &[
            (Who::Fleet, 100_000),
            (Who::Stock, 50_000),
            (Who::StockTls, 50_000),
            (Who::Erlang, 50_000),
            (Who::Ray, 3_072),
        ],
    ),
    (Measure::Beside, &[(Who::Fleet, 1_000), (Who::FleetApart, 1_000)]),
];

const SPAWNS: usize = 3_200;
/// Actors that are there and do nothing.
pub const CROWD: usize = 100_000;

/// Everything, round by round.
pub fn carry_out(run: &Run) -> Result<Results> {
    let mut results = Results::default();
    let mut field = Field::start(&run.without)?;
    let rounds = if run.quick { 1 } else { ROUNDS };
    let few = |count: usize| if run.quick { (count / QUICKER).max(LEAST) } else { count };
    for round in 0..rounds {
        for (measure, asked) in STEPS {
            for who in Field::order(round) {
                let Some((_, count)) = asked.iter().find(|(other, _)| *other == who) else { continue };
                let question = Question { measure, count: few(*count) };
                if let Some(answer) = field.ask(who, question)? {
                    results.add(who, measure, answer);
                }
            }
        }
    }
    results.close(field);
    for (measure, count) in [(Measure::Crowd, CROWD), (Measure::SpawnRemote, SPAWNS)] {
        let question = Question { measure, count: few(count) };
        for _ in 0..rounds {
            match afresh(question) {
                Ok(answer) => results.add(Who::Fleet, measure, answer),
                Err(e) => {
                    results.fail(measure, format!("{e:#}"));
                    break;
                }
            }
        }
    }
    Ok(results)
}

/// What leaves actors behind is asked of nodes that are new each time: memory that was used once doesn't grow again.
fn afresh(question: Question) -> Result<Vec<f64>> {
    Contender::start(Who::Fleet)?.ask(question)
}
