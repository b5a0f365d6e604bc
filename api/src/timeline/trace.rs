//! The Chrome trace event format, as Perfetto and `chrome://tracing` read it: spans on threads of processes.
//!
//! On one thread spans have to lie within each other or apart. Where they would overlap, the later one goes to another
//! thread of the same name, so that whatever was recorded can be shown.

use std::collections::BTreeMap;

use fleet_runtime::Timestamp;
use serde_json::{Value, json};

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Where: a node, or what isn't on one.
    pub process: String,
    /// Who: a job, an agent, an actor.
    pub thread: String,
    /// What.
    pub name: String,
    /// Of which sort, for filters.
    pub category: &'static str,
    /// From when.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// More about it.
    pub args: Value,
}

/// Something that took no time.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// As of a span.
    pub process: String,
    /// As of a span.
    pub thread: String,
    /// What happened.
    pub name: String,
    /// As of a span.
    pub category: &'static str,
    /// When.
    pub at: Timestamp,
}

/// What happened, in no particular order.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// What took time.
    pub spans: Vec<Span>,
    /// What took none.
    pub marks: Vec<Mark>,
}

impl Trace {
    /// Leaves out what lies outside, and cuts off what stands out.
    pub fn within(mut self, from: Timestamp, until: Timestamp) -> Self {
        self.spans.retain(|span| span.end >= from && span.start <= until);
        for span in &mut self.spans {
            (span.start, span.end) = (span.start.max(from), span.end.min(until));
        }
        self.marks.retain(|mark| (from..=until).contains(&mark.at));
        self
    }

    /// As JSON; times in microseconds since the first of them, ascending.
    pub fn into_json(mut self) -> Value {
        for span in &mut self.spans {
            // A clock that went backwards makes no span that ends before it begins.
            span.end = span.end.max(span.start);
        }
        let starts = self.spans.iter().map(|span| span.start);
        let began = starts.chain(self.marks.iter().map(|mark| mark.at)).min().unwrap_or_default();
        let mut threads = Threads::default();
        let mut events = Vec::with_capacity(self.spans.len() + self.marks.len());
        // Of two that begin together the longer one is around the other.
        self.spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        for span in self.spans {
            let (pid, tid) = threads.place(&span);
            let since = micros(began, span.start);
            events.push(json!({
                "ph": "X", "name": span.name, "cat": span.category, "pid": pid, "tid": tid,
                "ts": since, "dur": micros(span.start, span.end), "args": span.args,
            }));
        }
        for mark in self.marks {
            let (pid, tid) = threads.first(&mark.process, &mark.thread);
            events.push(json!({
                "ph": "i", "s": "t", "name": mark.name, "cat": mark.category, "pid": pid, "tid": tid,
                "ts": micros(began, mark.at),
            }));
        }
        // Stable: what begins together stays in the order in which it nests.
        events.sort_by_key(|event| event["ts"].as_u64());
        let mut all = threads.names();
        all.append(&mut events);
        json!({ "displayTimeUnit": "ms", "otherData": { "began": began.to_string() }, "traceEvents": all })
    }
}

fn micros(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
}

/// The number of a thread, and the ends of the spans that are open on it, the outermost first.
type Thread = (u64, Vec<Timestamp>);

/// Numbers for processes and threads, and what is open on each.
#[derive(Default)]
struct Threads {
    processes: BTreeMap<String, u64>,
    /// By process and name: as many as are needed.
    threads: BTreeMap<(u64, String), Vec<Thread>>,
    numbers: u64,
}

impl Threads {
    fn process(&mut self, name: &str) -> u64 {
        let next = self.processes.len() as u64 + 1;
        *self.processes.entry(name.to_owned()).or_insert(next)
    }

    /// The first thread of that name.
    fn first(&mut self, process: &str, thread: &str) -> (u64, u64) {
        let pid = self.process(process);
        let threads = self.threads.entry((pid, thread.to_owned())).or_default();
        if threads.is_empty() {
            self.numbers += 1;
            threads.push((self.numbers, Vec::new()));
        }
        (pid, threads[0].0)
    }

    /// The first thread of that name on which the span lies within what is open. Spans come by their starts.
    fn place(&mut self, span: &Span) -> (u64, u64) {
        let (pid, _) = self.first(&span.process, &span.thread);
        let threads = self.threads.entry((pid, span.thread.clone())).or_default();
        for (tid, open) in threads.iter_mut() {
            while open.last().is_some_and(|end| *end <= span.start) {
                open.pop();
            }
            if open.last().is_none_or(|end| *end >= span.end) {
                open.push(span.end);
                return (pid, *tid);
            }
        }
        self.numbers += 1;
        threads.push((self.numbers, vec![span.end]));
        (pid, self.numbers)
    }

    /// The events that name them.
    fn names(&self) -> Vec<Value> {
        let name = |what: &str, pid: u64, tid: u64, name: &str| json!({ "ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": { "name": name } });
        let processes = self.processes.iter().map(|(process, pid)| name("process_name", *pid, 0, process));
        let threads = self.threads.iter().flat_map(|((pid, thread), several)| {
            several.iter().map(|(tid, _)| name("thread_name", *pid, *tid, thread))
        });
        processes.chain(threads).collect()
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
pub(super) mod tests;
