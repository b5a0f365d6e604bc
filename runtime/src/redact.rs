//! Port: secrets are taken out before anything durable is written.
//!
//! The journal's append takes [`Redacted`] events and nothing else, and the only way to make one
//! is through a [`Redactor`]. So no path to the disk can forget it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::id::ProjectId;
use crate::journal::{Entity, Fact, NewEvent};

/// Replaces secrets in text by placeholders. Must be idempotent: what was redacted stays as it is.
pub trait Redactor: Send + Sync + 'static {
    fn redact<'a>(&self, project: &ProjectId, text: &'a str) -> Cow<'a, str>;
}

/// Changes nothing. For tests of the runtime itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Redactor for NoSecrets {
    fn redact<'a>(&self, _project: &ProjectId, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }
}

/// A value from which the secrets have been taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    pub fn get(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Redacted<NewEvent> {
    /// Redacts every string of the payload (keys too) and of the facts.
    ///
    /// The rest of an event are names that Fleet itself chose.
    pub fn event(redactor: &dyn Redactor, project: &ProjectId, mut event: NewEvent) -> Self {
        let pass = Pass { redactor, project };
        pass.value(&mut event.payload);
        for fact in &mut event.facts {
            pass.fact(fact);
        }
        Self(event)
    }
}

struct Pass<'a> {
    redactor: &'a dyn Redactor,
    project: &'a ProjectId,
}

impl Pass<'_> {
    fn text(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.redactor.redact(self.project, text) {
            *text = redacted;
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.object(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>) {
        map.values_mut().for_each(|value| self.value(value));
        let clean = map.keys().all(|key| matches!(self.redactor.redact(self.project, key), Cow::Borrowed(_)));
        if clean {
            return;
        }
        for (mut key, value) in std::mem::take(map) {
            self.text(&mut key);
            // Two keys can become one placeholder; neither value may vanish for it.
            while map.contains_key(&key) {
                key.push('\'');
            }
            map.insert(key, value);
        }
    }

    fn fact(&self, fact: &mut Fact) {
        match fact {
            Fact::Entity(Entity { id, title, body, kind: _ }) => {
                [id, title, body].into_iter().for_each(|text| self.text(text));
            }
            Fact::Relation { from, to, relation: _ } => {
                self.text(&mut from.id);
                self.text(&mut to.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;
    use crate::journal::{Author, EntityRef};

    struct Hunter;
    impl Redactor for Hunter {
        fn redact<'a>(&self, _project: &ProjectId, text: &'a str) -> Cow<'a, str> {
            if text.contains("hunter2") {
                Cow::Owned(text.replace("hunter2", "⟦secret⟧"))
            } else {
                Cow::Borrowed(text)
            }
        }
    }

    fn entity_ref(id: &str) -> EntityRef {
        EntityRef { kind: "file".into(), id: id.into() }
    }

    #[test]
    fn no_string_of_an_event_keeps_a_secret_however_deep_it_lies() {
        let event = NewEvent {
            facts: vec![
                Fact::Entity(Entity {
                    kind: "file".into(),
                    id: "hunter2".into(),
                    title: "a hunter2".into(),
                    body: "hunter2 b".into(),
                }),
                Fact::Relation { from: entity_ref("hunter2"), relation: "uses".into(), to: entity_ref("hunter2") },
            ],
            ..NewEvent::new(
                Author::Node("n1".into()),
                "test.event",
                json!({"a": [{"b": "x hunter2"}, "hunter2"], "hunter2": {"k": "hunter2"}, "n": 1}),
            )
        };
        let project = "p".parse().unwrap();
        let redacted = Redacted::event(&Hunter, &project, event);
        let text = format!("{:?}", redacted.get());
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(redacted.get().payload["n"], 1);
        assert_eq!(redacted.get().payload["a"][0]["b"], "x ⟦secret⟧");
    }

    #[test]
    fn two_keys_that_redact_to_the_same_text_keep_both_their_values() {
        let event = NewEvent::new(Author::Node("n1".into()), "test.event", json!({"hunter2": 1, "⟦secret⟧": 2}));
        let redacted = Redacted::event(&Hunter, &"p".parse().unwrap(), event);
        assert_eq!(redacted.get().payload.as_object().unwrap().len(), 2);
    }
}
