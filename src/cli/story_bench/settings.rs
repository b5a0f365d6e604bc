//! What a run was begun with. A run goes on only with the same: figures of different settings aren't mixed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{Folder, Part};
use super::record::What;
use crate::cli::args::{Arm, StoryKind};

/// Raised when what is kept of a run means something else than before.
pub const FORMAT: u32 = 1;

/// All that decides what is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub format: u32,
    /// Who answers.
    pub engine: String,
    pub model: String,
    /// Replies come from a script: nothing that follows says anything about a model.
    pub mock: bool,
    /// Version of Fleet at the node.
    pub node: String,
    pub arms: Vec<Arm>,
    pub seeds: u32,
    /// Proposals of each story's pool.
    pub pool: u32,
    pub budget_tokens: u64,
    pub draws: u32,
    pub stories: Vec<StoryNote>,
}

/// A story as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryNote {
    pub name: String,
    pub kind: StoryKind,
    pub part: Part,
    pub title: String,
    /// Of the first run; the others count on from it.
    pub seed: u64,
    /// SHA-256 over the story, how its repository is made, and its hidden tests.
    pub digest: String,
    /// What its proposals start from.
    pub base: String,
    /// The functions that must be found, of those that are there before the change.
    pub places: Vec<String>,
}

/// A run, as it was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Names the run, so that its jobs are found again.
    pub run: String,
    pub date: String,
    pub command: String,
    /// Version of this program.
    pub version: String,
    pub settings: Settings,
}

impl StoryNote {
    pub fn of(folder: &Folder, base: String, places: Vec<String>) -> Self {
        Self {
            name: folder.name.clone(),
            kind: folder.meta.kind,
            part: folder.part,
            title: folder.story.title.clone(),
            seed: folder.story.seed,
            digest: folder.digest.clone(),
            base,
            places,
        }
    }
}

impl Settings {
    /// The jobs that each story and seed needs.
    pub fn jobs(&self) -> Vec<What> {
        let pool = self.arms.iter().any(|arm| *arm != Arm::Fleet).then_some(What::Pool);
        let fleet = self.arms.contains(&Arm::Fleet).then_some(What::Fleet);
        pool.into_iter().chain(fleet).collect()
    }

    /// What is different, in words; nothing of equal settings.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let (before, after) = (object(self), object(now));
        let differs = |(key, was): (&String, &Value)| {
            let is = after.get(key).cloned().unwrap_or_default();
            if *was == is {
                return None;
            }
            Some(match key.as_str() {
                "stories" => self.other_stories(now),
                _ => format!("{key} was {was} and is {is} now"),
            })
        };
        before.iter().filter_map(differs).collect()
    }

    fn other_stories(&self, now: &Self) -> String {
        let names = |of: &Self| of.stories.iter().map(|story| story.name.clone()).collect::<Vec<_>>();
        let (before, after) = (names(self), names(now));
        let gone: Vec<&String> = before.iter().filter(|name| !after.contains(name)).collect();
        let new: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        let changed = self.stories.iter().filter(|story| after.contains(&story.name) && !now.stories.contains(story));
        let changed: Vec<&String> = changed.map(|story| &story.name).collect();
        let told = [("left out now", gone), ("new", new), ("changed", changed)];
        let told = told.iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = told.map(|(what, names)| format!("{what}: {}", joined(names))).collect();
        format!("the stories are others ({})", told.join("; "))
    }
}

fn joined(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn object(settings: &Settings) -> serde_json::Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &str, digest: &str) -> StoryNote {
        StoryNote {
            name: name.into(),
            kind: StoryKind::Fault,
            part: Part::Learning,
            title: name.into(),
            seed: 7,
            digest: digest.into(),
            base: "c".into(),
            places: vec![],
        }
    }

    fn settings() -> Settings {
        Settings {
            format: FORMAT,
            engine: "local".into(),
            model: "m".into(),
            mock: false,
            node: "0.1.0".into(),
            arms: Arm::ALL.to_vec(),
            seeds: 3,
            pool: 64,
            budget_tokens: 1000,
            draws: 10,
            stories: vec![note("a", "1"), note("b", "1")],
        }
    }

    #[test]
    fn what_differs_is_said_with_both_values() {
        let before = settings();
        assert!(before.differences(&settings()).is_empty());
        let now = Settings { pool: 32, model: "n".into(), ..settings() };
        assert_eq!(before.differences(&now), ["model was \"m\" and is \"n\" now", "pool was 64 and is 32 now"]);
        let now = Settings { stories: vec![note("b", "2"), note("c", "1")], ..settings() };
        assert_eq!(before.differences(&now), ["the stories are others (left out now: a; new: c; changed: b)"]);
    }
}
