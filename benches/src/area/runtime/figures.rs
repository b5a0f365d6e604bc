//! The rows of the table: each measure, what it has to reach, and what it is compared with.

use super::contender::Who;
use super::plan::CROWD;
use super::question::Measure;
use super::results::{Results, Value};
use crate::Figure;
use crate::Target::{AtLeast, AtMost};

const TELL: Measure = Measure::Tell(64);
const LARGE: Measure = Measure::Tell(16 << 20);
const KIB: f64 = 1024.0;
/// Messages of 16 MiB a second, in GiB a second.
const IN_GIB: f64 = 16.0 / 1024.0;

/// All rows, in the order of the table.
pub fn of(results: &Results) -> Vec<Figure> {
    [tells(results), large(results), asks(results), pipelined(results), beside(results), actors(results)].concat()
}

fn tells(results: &Results) -> Vec<Figure> {
    let mut rows = everybody(results, "remote tell, 64 B", TELL, 1.0, "1/s");
    rows[0] = rows[0].clone().aim(AtLeast(1e6));
    for (size, bytes) in [("1 KB", 1 << 10), ("64 KB", 64 << 10)] {
        rows.push(fleets(results, &format!("remote tell, {size}: Fleet"), Measure::Tell(bytes), 0, 1.0, "1/s"));
    }
    rows.push(times(results, "remote tell, 64 B", TELL, Who::Stock).must(AtLeast(3.0)));
    rows.push(times(results, "remote tell, 64 B", TELL, Who::StockTls));
    rows.push(times(results, "remote tell, 64 B", TELL, Who::Erlang).must(AtLeast(1.5)));
    rows.push(times(results, "remote tell, 64 B", TELL, Who::Ray).must(AtLeast(100.0)));
    rows
}

fn large(results: &Results) -> Vec<Figure> {
    let mut rows = everybody(results, "16 MiB payloads", LARGE, IN_GIB, "GiB/s");
    rows.insert(1, one(results, "16 MiB payloads", LARGE, Who::FleetApart, IN_GIB, "GiB/s"));
    rows.push(times(results, "16 MiB payloads", LARGE, Who::Ray).must(AtLeast(1.0)));
    let apart = results.ratio(Value(Who::FleetApart, LARGE, 0), Value(Who::Ray, LARGE, 0));
    let name = "16 MiB payloads: Fleet, over its TLS connection, over Ray";
    let apart = Figure::or_missing(name, apart, "x").against(results.name(Who::Ray));
    rows.push(apart.must(AtLeast(0.6)).aim(AtLeast(1.0)));
    rows
}

fn asks(results: &Results) -> Vec<Figure> {
    let mut rows = everybody(results, "remote ask p50, one in flight", Measure::Ask, 1.0, "µs");
    rows[0] = rows[0].clone().aim(AtMost(25.0));
    let floor = "round trip over a bare TCP connection, p50: what this machine takes";
    rows.push(fleets(results, floor, Measure::Floor, 0, 1.0, "µs"));
    let over_stock = times(results, "remote ask p50, one in flight", Measure::Ask, Who::StockTls);
    rows.push(over_stock.must(AtMost(0.5)));
    rows
}

fn pipelined(results: &Results) -> Vec<Figure> {
    let mut rows = Vec::new();
    for flying in [64, 1024] {
        let name = format!("remote ask, {flying} in flight");
        let mut all = everybody(results, &name, Measure::Asks(flying), 1.0, "1/s");
        all[0] = all[0].clone().aim(AtLeast(150_000.0));
        rows.append(&mut all);
        rows.push(times(results, &name, Measure::Asks(flying), Who::StockTls).must(AtLeast(2.0)));
    }
    rows
}

fn beside(results: &Results) -> Vec<Figure> {
    let idle = Value(Who::Fleet, Measure::Ask, 0);
    let rows = |(who, stream): (Who, &str)| {
        let name = format!("remote ask beside a stream of 16 MiB messages {stream}");
        let [p50, p99] = [0, 1].map(|at| Value(who, Measure::Beside, at));
        let ratio = Figure::or_missing(format!("{name}: p50 over idle"), results.ratio(p50, idle), "x");
        [
            Figure::or_missing(format!("{name}, p50"), results.median(p50), "µs"),
            Figure::or_missing(format!("{name}, p99"), results.median(p99), "µs"),
            ratio.must(AtMost(5.0)),
        ]
    };
    [(Who::Fleet, "in shared memory"), (Who::FleetApart, "over TLS")].into_iter().flat_map(rows).collect()
}

fn actors(results: &Results) -> Vec<Figure> {
    let grown = format!("what the other node grows by, for each of {CROWD} idle actors");
    vec![
        fleets(results, "local supervised spawn, one after the other", Measure::Crowd, 0, 1.0, "1/s")
            .must(AtLeast(40_000.0)),
        fleets(results, "remote supervised spawn, 64 under way", Measure::SpawnRemote, 0, 1.0, "1/s")
            .must(AtLeast(5_000.0)),
        fleets(results, "memory of an idle actor", Measure::Crowd, 1, 1.0 / KIB, "KiB")
            .must(AtMost(16.0))
            .aim(AtMost(12.0)),
        // A mirrored actor takes about ten KiB; this is what a process grows by from one look to the next anyway.
        fleets(results, &grown, Measure::Crowd, 2, 1.0, "B").must(AtMost(64.0)),
    ]
}

/// A row for each contender, Fleet first.
fn everybody(results: &Results, what: &str, measure: Measure, scale: f64, unit: &str) -> Vec<Figure> {
    let others = Who::ALL.into_iter().filter(|who| *who != Who::FleetApart);
    others.map(|who| one(results, what, measure, who, scale, unit)).collect()
}

fn one(results: &Results, what: &str, measure: Measure, who: Who, scale: f64, unit: &str) -> Figure {
    let value = results.median(Value(who, measure, 0)).map(|value| value * scale);
    Figure::or_missing(format!("{what}: {}", results.name(who)), value, unit)
}

fn fleets(results: &Results, name: &str, measure: Measure, at: usize, scale: f64, unit: &str) -> Figure {
    let value = results.median(Value(Who::Fleet, measure, at)).map(|value| value * scale);
    Figure::or_missing(name, value, unit)
}

/// Fleet's value over another's.
fn times(results: &Results, what: &str, measure: Measure, other: Who) -> Figure {
    let ratio = results.ratio(Value(Who::Fleet, measure, 0), Value(other, measure, 0));
    Figure::or_missing(format!("{what}: Fleet over {}", other.name()), ratio, "x").against(results.name(other))
}
