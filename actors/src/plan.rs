//! The plan: tasks with dependencies, as the planner must write them and as they are checked.
//!
//! The grammar that constrains the reply allows exactly as many tasks as are executed. A plan that
//! comes from somewhere else (a script, a model without a grammar) is checked all the same: a plan
//! that can't be carried out whole is refused whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::TaskNote;

/// Tasks of a plan that this release executes.
pub const MAX_TASKS: usize = 1;

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not the JSON that was asked for.
    #[error("the reply is not a plan: {0}")]
    Unreadable(String),
    /// No task at all.
    #[error("the plan has no task")]
    Empty,
    /// More than are executed.
    #[error(
        "the plan has {0} tasks ({1}), and plans of more than {MAX_TASKS} are not carried out yet; split the story"
    )]
    TooLong(usize, String),
    /// Two tasks with one id.
    #[error("two tasks are called `{0}`")]
    Duplicate(String),
    /// A dependency on a task that isn't there.
    #[error("task `{task}` depends on `{on}`, which is not in the plan")]
    Unknown {
        /// Which task.
        task: String,
        /// What it names.
        on: String,
    },
    /// A circle of dependencies.
    #[error("the tasks {0} depend on each other in a circle")]
    Circle(String),
}

#[derive(Deserialize)]
struct Written {
    tasks: Vec<TaskNote>,
}

/// The grammar of a plan.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "tasks": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_TASKS,
                "items": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string", "maxLength": 12 },
                        "title": { "type": "string", "maxLength": 120 },
                        "depends_on": { "type": "array", "items": { "type": "string" }, "maxItems": 0 },
                        "files": { "type": "array", "items": { "type": "string", "maxLength": 100 }, "maxItems": 3 }
                    },
                    "required": ["id", "title", "depends_on", "files"],
                    "additionalProperties": false
                }
            }
        },
        "required": ["tasks"],
        "additionalProperties": false
    })
}

/// Reads a plan as it was written, without judging it.
pub fn read(text: &str) -> Result<Vec<TaskNote>, PlanError> {
    serde_json::from_str::<Written>(text).map(|w| w.tasks).map_err(|e| PlanError::Unreadable(e.to_string()))
}

/// Whether the tasks are a DAG that can be carried out.
pub fn check(tasks: &[TaskNote]) -> Result<(), PlanError> {
    if tasks.is_empty() {
        return Err(PlanError::Empty);
    }
    let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for task in tasks {
        let on = task.depends_on.iter().map(String::as_str).collect();
        if open.insert(&task.id, on).is_some() {
            return Err(PlanError::Duplicate(task.id.clone()));
        }
    }
    for (task, on) in &open {
        if let Some(missing) = on.iter().find(|d| !open.contains_key(*d)) {
            return Err(PlanError::Unknown { task: (*task).into(), on: (*missing).into() });
        }
    }
    circle(open)?;
    if tasks.len() > MAX_TASKS {
        let ids: Vec<&str> = tasks.iter().map(|t| t.id.as_str()).collect();
        return Err(PlanError::TooLong(tasks.len(), ids.join(", ")));
    }
    Ok(())
}

/// Takes away tasks without open dependencies until none is left, or only a circle is.
fn circle(mut open: BTreeMap<&str, BTreeSet<&str>>) -> Result<(), PlanError> {
    while !open.is_empty() {
        let free: Vec<&str> = open.iter().filter(|(_, on)| on.is_empty()).map(|(t, _)| *t).collect();
        if free.is_empty() {
            let names: Vec<&str> = open.keys().copied().collect();
            return Err(PlanError::Circle(names.join(", ")));
        }
        for task in free {
            open.remove(task);
            open.values_mut().for_each(|on| {
                on.remove(task);
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn task(id: &str, on: &[&str]) -> TaskNote {
        TaskNote {
            id: id.into(),
            title: id.into(),
            depends_on: on.iter().map(|s| (*s).to_owned()).collect(),
            files: vec![],
        }
    }

    #[test]
    fn one_task_is_carried_out() {
        assert_eq!(check(&[task("t1", &[])]), Ok(()));
    }

    #[test]
    fn a_longer_plan_is_refused_and_says_what_to_do() {
        let error = check(&[task("a", &[]), task("b", &["a"])]).unwrap_err();
        assert_eq!(error, PlanError::TooLong(2, "a, b".into()));
        assert!(error.to_string().contains("split the story"));
    }

    #[test]
    fn what_is_no_dag_is_refused_for_what_it_is() {
        assert_eq!(check(&[]), Err(PlanError::Empty));
        assert_eq!(check(&[task("a", &[]), task("a", &[])]), Err(PlanError::Duplicate("a".into())));
        let unknown = PlanError::Unknown { task: "a".into(), on: "z".into() };
        assert_eq!(check(&[task("a", &["z"])]), Err(unknown));
        let circle = [task("a", &["b"]), task("b", &["a"]), task("c", &[])];
        assert_eq!(check(&circle), Err(PlanError::Circle("a, b".into())));
        assert_eq!(check(&[task("a", &["a"])]), Err(PlanError::Circle("a".into())));
    }

    #[test]
    fn what_is_written_is_read() {
        let tasks = read(r#"{"tasks":[{"id":"t1","title":"x","depends_on":[],"files":["a.py"]}]}"#).unwrap();
        assert_eq!(tasks[0].files, ["a.py"]);
        assert!(matches!(read("nonsense"), Err(PlanError::Unreadable(_))));
    }
}
