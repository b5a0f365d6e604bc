//! The cluster's events as spans: the lives of nodes, and where each actor had its place.
//!
//! They are read leniently, field by field: what can't be read isn't shown, and nothing but this page misses it.

use std::collections::BTreeMap;

use fleet_runtime::{Envelope, Timestamp};
use serde_json::{Value, json};

use super::trace::{Mark, Span, Trace};

const MEMBERSHIP: &str = "membership";

/// Folds the cluster's events.
pub(super) struct ClusterTrace<'a> {
    trace: &'a mut Trace,
    /// Whether an actor of that key is wanted.
    wanted: &'a dyn Fn(&str) -> bool,
    /// Names of nodes, by id.
    nodes: BTreeMap<String, String>,
    lives: BTreeMap<String, Timestamp>,
    /// Keys of actors, by id.
    actors: BTreeMap<String, String>,
    /// Where they are, since when, as which generation.
    places: BTreeMap<String, (String, Timestamp, u64)>,
}

impl<'a> ClusterTrace<'a> {
    pub(super) fn new(trace: &'a mut Trace, wanted: &'a dyn Fn(&str) -> bool) -> Self {
        let (nodes, lives, actors, places) = Default::default();
        Self { trace, wanted, nodes, lives, actors, places }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: &Envelope) {
        let payload = &event.payload;
        let at = payload["at"].as_i64().map_or(event.at, Timestamp);
        match event.kind.as_str() {
            "cluster.joined" => self.joined(payload, at),
            "cluster.member" => self.member(payload, at),
            "cluster.actor_spawned" => self.spawned(&payload["actor"], &payload["request"]["order"]["key"]),
            "cluster.actor_placed" => {
                let generation = payload["generation"].as_u64().unwrap_or_default();
                self.placed(&payload["actor"], &payload["place"]["node"], generation, at);
            }
            "cluster.actor_vacated" | "cluster.actor_over" => {
                self.vacated(text(&payload["actor"]), text(&payload["why"]), at);
            }
            "cluster.snapshot" => self.snapshot(payload),
            _ => {}
        }
    }

    /// What the deleted segments before this one came to: who was there, and since when.
    fn snapshot(&mut self, part: &Value) {
        let pairs = |key: &str| part[key].as_array().cloned().unwrap_or_default();
        for pair in pairs("members") {
            let (member, since) = (&pair[0], pair[1]["since"].as_i64().map(Timestamp));
            let node = text(&member["node"]).to_owned();
            self.nodes.insert(node.clone(), text(&member["facts"]["name"]).to_owned());
            let there = !matches!(text(&member["standing"]), "dead" | "left");
            if let (true, Some(since)) = (there, since) {
                self.lives.entry(node).or_insert(since);
            }
        }
        for pair in pairs("actors") {
            let (actor, entry) = (&pair[0], &pair[1]);
            self.spawned(actor, &entry["request"]["order"]["key"]);
            if let (Some(since), false) = (entry["since"].as_i64(), entry["place"].is_null()) {
                let generation = entry["generation"].as_u64().unwrap_or_default();
                self.placed(actor, &entry["place"]["node"], generation, Timestamp(since));
            }
        }
    }

    /// Closes what is still open.
    pub(super) fn end(mut self, now: Timestamp) {
        for actor in self.places.keys().cloned().collect::<Vec<_>>() {
            self.vacated(&actor, "still there", now);
        }
        for node in self.lives.keys().cloned().collect::<Vec<_>>() {
            self.gone(&node, "still there", now);
        }
    }

    fn process(&self, node: &str) -> String {
        format!("node {}", self.nodes.get(node).map_or(node, String::as_str))
    }

    fn joined(&mut self, payload: &Value, at: Timestamp) {
        let (node, name) = (text(&payload["node"]), text(&payload["facts"]["name"]));
        self.gone(node, "a new life began", at);
        self.nodes.insert(node.to_owned(), name.to_owned());
        self.lives.insert(node.to_owned(), at);
    }

    fn member(&mut self, payload: &Value, at: Timestamp) {
        let (node, event) = (text(&payload["node"]), text(&payload["event"]["event"]));
        if !self.nodes.contains_key(node) {
            return;
        }
        let (process, thread) = (self.process(node), MEMBERSHIP.to_owned());
        self.trace.marks.push(Mark { process, thread, name: event.to_owned(), category: "node", at });
        if matches!(event, "dead" | "left" | "forgotten") {
            self.gone(node, event, at);
        }
    }

    fn gone(&mut self, node: &str, how: &str, end: Timestamp) {
        let Some(start) = self.lives.remove(node) else { return };
        let (process, thread) = (self.process(node), MEMBERSHIP.to_owned());
        let args = json!({ "id": node, "end": how });
        self.trace.spans.push(Span { process, thread, name: "member".into(), category: "node", start, end, args });
    }

    fn spawned(&mut self, actor: &Value, key: &Value) {
        self.actors.insert(text(actor).to_owned(), text(key).to_owned());
    }

    fn placed(&mut self, actor: &Value, node: &Value, generation: u64, at: Timestamp) {
        self.vacated(text(actor), "moved", at);
        self.places.insert(text(actor).to_owned(), (text(node).to_owned(), at, generation));
    }

    fn vacated(&mut self, actor: &str, why: &str, end: Timestamp) {
        let Some((node, start, generation)) = self.places.remove(actor) else { return };
        let key = self.actors.get(actor).cloned().unwrap_or_else(|| actor.to_owned());
        if !(self.wanted)(&key) {
            return;
        }
        let (process, args) = (self.process(&node), json!({ "generation": generation, "end": why }));
        let name = format!("actor {key}");
        self.trace.spans.push(Span { process, thread: name.clone(), name, category: "actor", start, end, args });
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
