//! Context bundles: deterministic, within budget, and honest about what was left out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use fleet_memory::bundle::scope::ScopeTable;
use fleet_memory::bundle::{BundleRequest, ContextBundle, Material, pack};
use fleet_memory::estimate_tokens;
use fleet_memory::projection::Projection;
use fleet_runtime::{Author, Entity, EntityRef, Envelope, Fact, Generation, Hash, Position, Seq, StreamId, Timestamp};
use proptest::prelude::*;

fn event(seq: u64, facts: Vec<Fact>) -> Envelope {
    Envelope {
        position: Position(seq * 3),
        at: Timestamp(0),
        by: Author::Node("n1".to_owned()),
        project: "p1".parse().unwrap(),
        stream: "job/k3m9x2p7qa".parse().unwrap(),
        seq: Seq(seq),
        generation: Generation(1),
        kind: "some.event".to_owned(),
        version: 1,
        caused_by: None,
        facts,
        prev_hash: Hash::default(),
        hash: Hash::default(),
        payload: serde_json::Value::Null,
    }
}

fn entity(kind: &str, id: &str, body: &str) -> Fact {
    Fact::Entity(Entity {
        kind: kind.to_owned(),
        id: id.to_owned(),
        title: format!("{kind} {id}"),
        body: body.to_owned(),
    })
}

fn about_task(kind: &str, id: &str, task: &str) -> Fact {
    let from = EntityRef { kind: kind.to_owned(), id: id.to_owned() };
    Fact::Relation { from, relation: "for".to_owned(), to: EntityRef { kind: "task".to_owned(), id: task.to_owned() } }
}

fn folded(events: &[Envelope]) -> Projection {
    let mut projection = Projection::default();
    events.iter().for_each(|event| projection.apply(event));
    projection
}

fn material(id: &str, priority: u8, body: &str) -> Material {
    Material {
        kind: "source file".to_owned(),
        id: id.to_owned(),
        title: id.to_owned(),
        body: body.to_owned(),
        priority,
    }
}

fn request(budget: u32, materials: Vec<Material>) -> BundleRequest {
    BundleRequest {
        stream: stream(),
        project: "p1".parse().unwrap(),
        role: "developer".to_owned(),
        phase: "build".to_owned(),
        task: Some("t1".to_owned()),
        budget_tokens: budget,
        materials,
    }
}

fn stream() -> StreamId {
    "job/k3m9x2p7qa".parse().unwrap()
}

fn bundle(events: &[Envelope], request: &BundleRequest) -> ContextBundle {
    pack(&folded(events), &ScopeTable::default(), request)
}

fn ids(bundle: &ContextBundle) -> Vec<&str> {
    bundle.sections.iter().map(|section| section.id.as_str()).collect()
}

#[test]
fn a_developer_reads_story_decision_and_own_task_and_is_told_what_is_left_out() {
    let events = [
        event(1, vec![entity("story", "s", "pages are wrong")]),
        event(
            2,
            vec![entity("decision", "d1", "round up"), entity("task", "t1", "fix it"), entity("task", "t2", "other")],
        ),
        event(
            3,
            vec![
                entity("proposal", "p9", "another's work"),
                entity("decision", "d2", "for t2"),
                about_task("decision", "d2", "t2"),
            ],
        ),
    ];
    let bundle = bundle(&events, &request(10_000, vec![material("pages.py", 1, "def f(): pass")]));
    assert_eq!(ids(&bundle), ["s", "d1", "t1", "pages.py"]);
    assert_eq!(bundle.position, Position(9));
    let why: Vec<(&str, &str)> = bundle.omitted.iter().map(|o| (o.id.as_str(), o.why.as_str())).collect();
    assert_eq!(
        why,
        [
            ("d2", "belongs to another task than t1"),
            ("p9", "not in the scope of role developer in phase build"),
            ("t2", "belongs to another task than t1"),
        ]
    );
}

#[test]
fn the_latest_word_on_an_entity_counts() {
    let events = [event(1, vec![entity("story", "s", "old")]), event(2, vec![entity("story", "s", "new")])];
    let bundle = bundle(&events, &request(1000, Vec::new()));
    assert_eq!(bundle.sections[0].body, "new");
    assert_eq!(bundle.render(), "## story s\nnew\n");
}

#[test]
fn what_gives_way_first_is_what_matters_least() {
    let big = "word ".repeat(50);
    let materials = vec![material("least", 9, &big), material("must", 0, &big), material("some", 3, &big)];
    let bundle = bundle(&[], &request(130, materials));
    assert_eq!(ids(&bundle), ["must", "some"]);
    assert!(bundle.omitted[0].why.starts_with("over budget:"), "{:?}", bundle.omitted);
}

#[test]
fn the_same_thing_is_said_once() {
    let materials = vec![material("a", 1, "first"), material("a", 1, "second"), material("b", 1, " \n")];
    let bundle = bundle(&[], &request(1000, materials));
    assert_eq!(ids(&bundle), ["a"]);
    let why: Vec<&str> = bundle.omitted.iter().map(|omitted| omitted.why.as_str()).collect();
    assert_eq!(why, ["the source file of this id is in the bundle once already", "empty"]);
}

#[test]
fn of_two_with_the_same_id_the_one_that_must_be_there_stays() {
    let materials = vec![material("a", 3, "may"), material("b", 1, "other"), material("a", 0, "must")];
    let bundle = bundle(&[], &request(0, materials));
    assert_eq!(bundle.render(), "## a\nmust\n");
}

#[test]
fn an_event_that_says_nothing_new_to_the_role_leaves_the_hash_alone() {
    let events = [event(1, vec![entity("story", "s", "x")]), event(2, vec![entity("verdict", "v", "y")])];
    let asked = request(1000, Vec::new());
    let (before, after) = (bundle(&events[..1], &asked), bundle(&events, &asked));
    assert_eq!(before.hash, after.hash);
    assert_ne!(before.position, after.position);
}

fn any_material() -> impl Strategy<Value = Material> {
    let kind = prop::sample::select(vec!["failing test", "source file", "feedback"]);
    (kind, "[a-d]{1,2}", "[ -~\n]{0,300}", 0_u8..5).prop_map(|(kind, id, body, priority)| Material {
        kind: kind.to_owned(),
        title: format!("Title of {id}"),
        id,
        body,
        priority,
    })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let kind = || prop::sample::select(vec!["story", "decision", "task", "proposal", "verdict", "baseline"]);
    prop_oneof![
        4 => (kind(), "t[1-3]", "[ -~\n]{0,200}").prop_map(|(kind, id, body)| entity(kind, &id, &body)),
        1 => (kind(), "t[1-3]", "t[1-3]").prop_map(|(kind, id, task)| about_task(kind, &id, &task)),
    ]
}

fn any_events() -> impl Strategy<Value = Vec<Envelope>> {
    let facts = prop::collection::vec(prop::collection::vec(any_fact(), 0..4), 0..12);
    facts.prop_map(|all| (1..).zip(all).map(|(seq, facts)| event(seq, facts)).collect())
}

proptest! {
    #[test]
    fn same_position_and_request_give_the_same_bytes(
        events in any_events(),
        materials in prop::collection::vec(any_material(), 0..8),
        budget in 0_u32..400,
        folded_twice in 0_usize..12,
    ) {
        let asked = request(budget, materials);
        let first = bundle(&events, &asked);
        // Folding in another rhythm, some events twice, changes nothing.
        let mut projection = folded(&events[..folded_twice.min(events.len())]);
        events.iter().for_each(|event| projection.apply(event));
        let second = pack(&projection, &ScopeTable::default(), &asked);
        prop_assert_eq!(fleet_runtime::codec::encode(&first).unwrap(), fleet_runtime::codec::encode(&second).unwrap());
    }

    #[test]
    fn the_budget_holds_unless_what_must_be_there_exceeds_it(
        events in any_events(),
        materials in prop::collection::vec(any_material(), 0..8),
        budget in 0_u32..400,
    ) {
        let asked = request(budget, materials);
        let bundle = bundle(&events, &asked);
        let sum: u32 = bundle.sections.iter().map(|section| section.tokens).sum();
        prop_assert_eq!(bundle.tokens, sum);
        let is_must = |id: &(String, String)| asked.materials.iter().any(|m| m.priority == 0 && (&m.kind, &m.id) == (&id.0, &id.1));
        let only_musts = bundle.sections.iter().all(|s| is_must(&(s.kind.clone(), s.id.clone())));
        prop_assert!(bundle.tokens <= budget || only_musts, "{} > {}", bundle.tokens, budget);
        for section in &bundle.sections {
            prop_assert_eq!(section.tokens, estimate_tokens(&section.render()));
        }
    }

    #[test]
    fn everything_is_either_in_the_bundle_or_listed_with_a_reason(
        events in any_events(),
        materials in prop::collection::vec(any_material(), 0..8),
        budget in 0_u32..400,
    ) {
        let asked = request(budget, materials);
        let bundle = bundle(&events, &asked);
        let known = folded(&events).entities().len() + asked.materials.len();
        prop_assert_eq!(bundle.sections.len() + bundle.omitted.len(), known);
        prop_assert!(bundle.omitted.iter().all(|omitted| !omitted.why.is_empty()));
        let distinct: BTreeSet<(&str, &str)> = bundle.sections.iter().map(|s| (s.kind.as_str(), s.id.as_str())).collect();
        prop_assert_eq!(distinct.len(), bundle.sections.len());
    }
}
