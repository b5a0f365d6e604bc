//! Deciding what goes into a bundle. Pure: no clock, no I/O.
//!
//! Two orders that are easily confused: *priority* decides what gets into the budget, *reading
//! order* decides where it stands. Facts of the stream read first because they are the same for
//! every member of a council, which lets an engine share that prefix.

use std::collections::{BTreeMap, BTreeSet};

use super::context::rendered;
use super::scope::ScopeTable;
use super::{BundleRequest, ContextBundle, Omitted, Section};
use crate::projection::Projection;
use crate::tokens::estimate_tokens;

/// Something that wants to be in the bundle; its index is its place in the reading order.
struct Candidate {
    kind: String,
    id: String,
    title: String,
    body: String,
    priority: u8,
    tokens: u32,
}

/// Builds the bundle for a request from the facts of its stream.
///
/// Whole or not at all: a piece that doesn't fit is left out and listed, never cut, because half a
/// function misleads. Priority 0 is in whatever the budget says.
#[must_use]
pub fn pack(projection: &Projection, scopes: &ScopeTable, request: &BundleRequest) -> ContextBundle {
    let mut omitted = Vec::new();
    let mut candidates = facts(projection, scopes, request, &mut omitted);
    candidates.extend(request.materials.iter().map(|m| candidate(&m.kind, &m.id, &m.title, &m.body, m.priority)));
    let candidates = distinct(candidates, &mut omitted);
    let chosen = choose(&candidates, request.budget_tokens, &mut omitted);
    let sections: Vec<Section> = candidates
        .into_iter()
        .enumerate()
        .filter(|(place, _)| chosen.contains(place))
        .map(|(_, candidate)| section(candidate))
        .collect();
    ContextBundle {
        role: request.role.clone(),
        phase: request.phase.clone(),
        task: request.task.clone(),
        position: projection.position(),
        tokens: sections.iter().map(|section| section.tokens).fold(0, u32::saturating_add),
        hash: hash(&sections),
        sections,
        omitted,
    }
}

/// Facts in scope, in the order of the scope's kinds; the others go to the list of omissions.
fn facts(
    projection: &Projection,
    scopes: &ScopeTable,
    request: &BundleRequest,
    omitted: &mut Vec<Omitted>,
) -> Vec<Candidate> {
    let kinds = scopes.kinds(&request.role, &request.phase);
    let mut found: Vec<(usize, Candidate)> = Vec::new();
    for recorded in projection.entities() {
        let entity = &recorded.entity;
        let place = kinds.iter().position(|(kind, _)| *kind == entity.kind);
        let priority = place.and_then(|place| kinds.get(place)).map_or(u8::MAX, |(_, priority)| *priority);
        let candidate = candidate(&entity.kind, &entity.id, &entity.title, &entity.body, priority);
        let elsewhere = request.task.as_deref().filter(|task| projection.belongs_elsewhere(entity, task));
        match (place, elsewhere) {
            (None, _) => omitted.push(leave(
                &candidate,
                format!("not in the scope of role {} in phase {}", request.role, request.phase),
            )),
            (Some(_), Some(task)) => {
                omitted.push(leave(&candidate, format!("belongs to another task than {task}")));
            }
            (Some(place), None) => found.push((place, candidate)),
        }
    }
    found.sort_by_key(|(place, _)| *place); // stable: within a kind, oldest first
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Drops what is empty or said twice. Of two of the same id the one that matters more stays, and of
/// equals the first.
fn distinct(candidates: Vec<Candidate>, omitted: &mut Vec<Omitted>) -> Vec<Candidate> {
    let mut best: BTreeMap<(String, String), (u8, usize)> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| !is_empty(candidate)) {
        let rank = (candidate.priority, place);
        best.entry(key(candidate)).and_modify(|kept| *kept = rank.min(*kept)).or_insert(rank);
    }
    let mut kept = Vec::with_capacity(candidates.len());
    for (place, candidate) in candidates.into_iter().enumerate() {
        if is_empty(&candidate) {
            omitted.push(leave(&candidate, "empty".to_owned()));
        } else if best.get(&key(&candidate)).is_some_and(|(_, kept)| *kept == place) {
            kept.push(candidate);
        } else {
            omitted.push(leave(&candidate, format!("the {} of this id is in the bundle once already", candidate.kind)));
        }
    }
    kept
}

fn is_empty(candidate: &Candidate) -> bool {
    candidate.body.trim().is_empty() && candidate.priority > 0
}

fn key(candidate: &Candidate) -> (String, String) {
    (candidate.kind.clone(), candidate.id.clone())
}

/// Places of the candidates that get in: by priority, then by reading order.
fn choose(candidates: &[Candidate], budget: u32, omitted: &mut Vec<Omitted>) -> BTreeSet<usize> {
    let mut order: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    order.sort_by_key(|(place, candidate)| (candidate.priority, *place));
    let mut used = 0_u32;
    let mut chosen = BTreeSet::new();
    for (place, candidate) in order {
        let left = budget.saturating_sub(used);
        if candidate.priority == 0 || candidate.tokens <= left {
            used = used.saturating_add(candidate.tokens);
            chosen.insert(place);
        } else {
            let why = format!("over budget: {} tokens needed, {left} of {budget} left", candidate.tokens);
            omitted.push(leave(candidate, why));
        }
    }
    chosen
}

fn candidate(kind: &str, id: &str, title: &str, body: &str, priority: u8) -> Candidate {
    Candidate {
        kind: kind.to_owned(),
        id: id.to_owned(),
        title: title.to_owned(),
        body: body.to_owned(),
        priority,
        tokens: estimate_tokens(&rendered(title, body)),
    }
}

fn leave(candidate: &Candidate, why: String) -> Omitted {
    Omitted { kind: candidate.kind.clone(), id: candidate.id.clone(), tokens: candidate.tokens, why }
}

fn section(candidate: Candidate) -> Section {
    let Candidate { kind, id, title, body, tokens, .. } = candidate;
    Section { kind, id, title, body, tokens }
}

/// BLAKE3 over every field of every section, each with its length in front, so that no two
/// different lists of sections hash alike.
fn hash(sections: &[Section]) -> String {
    let mut hasher = blake3::Hasher::new();
    for section in sections {
        for field in [&section.kind, &section.id, &section.title, &section.body] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.update(&section.tokens.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
