//! The facts of one stream, folded from its events.
//!
//! Pure: events in, entities out. The latest event that speaks of an entity wins. Nothing is kept
//! that the journal doesn't hold, so a projection may be dropped and rebuilt at any time.

use std::collections::{BTreeMap, BTreeSet};

use fleet_runtime::{Entity, Envelope, Fact, Position, Seq};

/// Kind of the entities that tasks are.
const TASK: &str = "task";

/// What a stream says, as of one position.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    position: Option<Position>,
    last_seq: Option<Seq>,
    entities: BTreeMap<(String, String), Recorded>,
    /// Tasks that an entity points at, by (kind, id) of the entity.
    tasks: BTreeMap<(String, String), BTreeSet<String>>,
}

/// An entity and when it was first recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub entity: Entity,
    /// Orders entities of one kind: the older one reads first.
    pub first_at: Position,
}

impl Projection {
    /// Takes one event into account. An event that was already folded changes nothing.
    pub fn apply(&mut self, event: &Envelope) {
        if self.last_seq.is_some_and(|last| event.seq <= last) {
            return;
        }
        self.last_seq = Some(event.seq);
        self.position = Some(event.position);
        for fact in &event.facts {
            self.learn(fact, event.position);
        }
    }

    fn learn(&mut self, fact: &Fact, at: Position) {
        match fact {
            Fact::Entity(entity) => self.record(entity.clone(), at),
            Fact::Relation { from, to, .. } if to.kind == TASK => {
                let key = (from.kind.clone(), from.id.clone());
                self.tasks.entry(key).or_default().insert(to.id.clone());
            }
            Fact::Relation { .. } => {}
        }
    }

    fn record(&mut self, entity: Entity, at: Position) {
        let key = (entity.kind.clone(), entity.id.clone());
        let first_at = self.entities.get(&key).map_or(at, |known| known.first_at);
        self.entities.insert(key, Recorded { entity, first_at });
    }

    /// Position of the last folded event; 0 before the first.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position.unwrap_or(Position(0))
    }

    /// Seq of the last folded event.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    /// All entities, by kind, then in the order in which they were first recorded.
    #[must_use]
    pub fn entities(&self) -> Vec<&Recorded> {
        let mut all: Vec<&Recorded> = self.entities.values().collect();
        all.sort_by(|a, b| order(a).cmp(&order(b)));
        all
    }

    /// Whether an entity is about another task than this one, and about that only.
    #[must_use]
    pub fn belongs_elsewhere(&self, entity: &Entity, task: &str) -> bool {
        if entity.kind == TASK {
            return entity.id != task;
        }
        let key = (entity.kind.clone(), entity.id.clone());
        self.tasks.get(&key).is_some_and(|tasks| !tasks.contains(task))
    }
}

fn order(recorded: &Recorded) -> (&str, Position, &str) {
    (&recorded.entity.kind, recorded.first_at, &recorded.entity.id)
}
