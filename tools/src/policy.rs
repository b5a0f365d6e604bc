//! Who may use which tool on what: a table over role, phase, tool and arguments.
//!
//! What the table doesn't allow is denied. Before it stand rules that no role is above: paths stay inside the
//! workspace, protected paths and existing tests aren't written. Every denial says which rule, why, and what to do
//! instead, for the agent as for whoever reads the record.
//!
//! Arguments that count: `path`, and for tools that write `class` (see [`PathClass`], in lower case) and `in_base`. The
//! gateway fills them in; a writing call without them is denied.

use fleet_runtime::auth::{AccessQuery, Authorizer, Decision};
use serde_json::{Value, json};

use crate::repo::path::normalize;
use crate::repo::{PathClass, PathRules};

/// Tools that look and change nothing.
const LOOK: &[&str] = &["list", "read", "search"];
/// Tools that write one named file.
const WRITE: &[&str] = &["replace_function", "write_file"];
/// Phases in which code is worked on.
const WORK: &[&str] = &["build", "test"];
const ANY: &[&str] = &[];

/// One line of the table: it allows what all its columns match. An empty column matches everything.
struct Rule {
    id: &'static str,
    roles: &'static [&'static str],
    phases: &'static [&'static str],
    tools: &'static [&'static str],
    /// What a written path has to be besides.
    writes: Writes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Anything,
    NewTests,
    Documents,
}

const TABLE: &[Rule] = &[
    Rule { id: "everyone-looks", roles: ANY, phases: ANY, tools: LOOK, writes: Writes::Anything },
    Rule { id: "developers-change-code", roles: &["developer"], phases: WORK, tools: WRITE, writes: Writes::Anything },
    Rule {
        id: "testers-add-tests",
        roles: &["tester"],
        phases: WORK,
        tools: &["write_file"],
        writes: Writes::NewTests,
    },
    Rule {
        id: "writers-write-documents",
        roles: &["writer", "developer"],
        phases: &["docs"],
        tools: &["write_file"],
        writes: Writes::Documents,
    },
    Rule {
        id: "code-is-run-where-it-is-worked-on",
        roles: &["developer", "tester"],
        phases: WORK,
        tools: &["run_tests", "exec"],
        writes: Writes::Anything,
    },
    Rule {
        id: "judges-run-tests",
        roles: &["architect", "reviewer"],
        phases: WORK,
        tools: &["run_tests"],
        writes: Writes::Anything,
    },
];

/// The built-in policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy;

impl Policy {
    /// The tools that some call of which would be allowed; what an agent is offered.
    pub fn offered(role: &str, phase: &str) -> Vec<&'static str> {
        let all = LOOK.iter().chain(WRITE).chain(&["run_tests", "exec"]);
        all.copied().filter(|tool| TABLE.iter().any(|rule| rule.covers(role, phase, tool))).collect()
    }
}

impl Rule {
    fn covers(&self, role: &str, phase: &str, tool: &str) -> bool {
        let matches = |column: &[&str], value: &str| column.is_empty() || column.contains(&value);
        matches(self.roles, role) && matches(self.phases, phase) && matches(self.tools, tool)
    }

    fn suits(&self, path: &str, class: Option<PathClass>) -> bool {
        match self.writes {
            Writes::Anything => true,
            Writes::NewTests => class == Some(PathClass::Test),
            Writes::Documents => is_document(path),
        }
    }
}

fn is_document(path: &str) -> bool {
    path.starts_with("docs/") || [".md", ".rst", ".txt"].iter().any(|end| path.ends_with(end))
}

impl Authorizer for Policy {
    fn decide(&self, query: &AccessQuery) -> Decision {
        let path = query.args.get("path").and_then(Value::as_str);
        let clean = match path.filter(|path| !is_whole_tree(path)).map(normalize).transpose() {
            Ok(clean) => clean,
            Err(why) => {
                return deny(
                    "paths-stay-inside",
                    format!("the path is refused: {why}"),
                    "give a path inside the workspace, such as src/main.py",
                );
            }
        };
        let writes = WRITE.contains(&query.tool.as_str());
        if let Some(denied) = writes.then(|| protected(&query.args, clean.as_deref())).flatten() {
            return denied;
        }
        let class = class_of(&query.args);
        let covering: Vec<_> =
            TABLE.iter().filter(|rule| rule.covers(&query.role, &query.phase, &query.tool)).collect();
        match covering.iter().find(|rule| rule.suits(clean.as_deref().unwrap_or_default(), class)) {
            Some(rule) => Decision::Allow { rule: rule.id.to_owned() },
            None if covering.is_empty() => not_offered(query),
            None => deny(
                "only-what-the-role-writes",
                format!("a {} doesn't write {}", query.role, clean.unwrap_or_default()),
                "testers add test files, writers write documents",
            ),
        }
    }
}

/// The top of the workspace, which may be listed and searched but is no file.
fn is_whole_tree(path: &str) -> bool {
    matches!(path, "" | "." | "./" | "/" | "/work" | "/work/")
}

fn not_offered(query: &AccessQuery) -> Decision {
    let offered = Policy::offered(&query.role, &query.phase).join(", ");
    let reason = format!("a {} doesn't use {} in the phase {}", query.role, query.tool, query.phase);
    deny("only-what-the-table-allows", reason, format!("these are allowed now: {offered}"))
}

/// What nobody may write.
fn protected(args: &Value, path: Option<&str>) -> Option<Decision> {
    let (Some(path), Some(class)) = (path, class_of(args)) else {
        return Some(deny("writes-name-a-file", "the call names no file to write", "give the path of a file"));
    };
    let in_base = args.get("in_base").and_then(Value::as_bool).unwrap_or(true);
    match class {
        PathClass::Protected => Some(deny(
            "protected-paths",
            format!("{path} is protected in this story"),
            "solve it without changing that file",
        )),
        PathClass::Test if in_base => Some(deny(
            "existing-tests",
            format!("{path} is an existing test"),
            "make the code pass the test as it is; new test files are welcome",
        )),
        PathClass::Test | PathClass::Plain => None,
    }
}

fn class_of(args: &Value) -> Option<PathClass> {
    match args.get("class")?.as_str()? {
        "plain" => Some(PathClass::Plain),
        "test" => Some(PathClass::Test),
        "protected" => Some(PathClass::Protected),
        _ => None,
    }
}

fn deny(rule: &str, reason: impl Into<String>, hint: impl Into<String>) -> Decision {
    Decision::Deny { rule: rule.to_owned(), reason: reason.into(), hint: hint.into() }
}

/// The arguments of a query about a path, as this policy wants them.
pub fn path_args(path: &str, rules: &PathRules, in_base: impl Fn(&str) -> bool) -> Value {
    // A path that isn't well-formed is passed on as it is, to be denied with its reason.
    let Ok(clean) = normalize(path) else {
        return json!({ "path": path });
    };
    let class = match rules.class(&clean) {
        PathClass::Plain => "plain",
        PathClass::Test => "test",
        PathClass::Protected => "protected",
    };
    let in_base = in_base(&clean);
    json!({ "path": clean, "class": class, "in_base": in_base })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn rules() -> PathRules {
        let own = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        PathRules::compile(&own(&["ci/**", "Makefile"]), &own(&["tests/**", "test_*.py"])).unwrap()
    }

    fn ask(role: &str, phase: &str, tool: &str, path: &str) -> Decision {
        let args = path_args(path, &rules(), |path| path.contains("old"));
        Policy.decide(&AccessQuery { role: role.into(), phase: phase.into(), tool: tool.into(), args })
    }

    fn allowed(decision: &Decision) -> bool {
        matches!(decision, Decision::Allow { .. })
    }

    fn rule(decision: &Decision) -> &str {
        match decision {
            Decision::Allow { rule } | Decision::Deny { rule, .. } => rule,
        }
    }

    #[test]
    fn a_developer_changes_code_while_building_and_at_no_other_time() {
        assert!(allowed(&ask("developer", "build", "replace_function", "src/a.py")));
        for phase in ["design", "plan", "docs", "done", ""] {
            let decision = ask("developer", phase, "write_file", "src/a.py");
            assert!(!allowed(&decision), "{phase}");
        }
    }

    #[test]
    fn every_denial_names_a_rule_a_reason_and_a_way_out() {
        let cases = [
            (ask("developer", "build", "write_file", "tests/old.py"), "existing-tests"),
            (ask("developer", "build", "write_file", "Makefile"), "protected-paths"),
            (ask("developer", "build", "write_file", "../x"), "paths-stay-inside"),
            (ask("developer", "build", "read", "/etc/passwd"), "paths-stay-inside"),
            (ask("architect", "build", "write_file", "src/a.py"), "only-what-the-table-allows"),
            (ask("tester", "build", "write_file", "src/a.py"), "only-what-the-role-writes"),
            (ask("developer", "build", "format_disk", "src/a.py"), "only-what-the-table-allows"),
        ];
        for (decision, expected) in cases {
            let Decision::Deny { rule, reason, hint } = decision else { panic!("{expected} allows") };
            assert_eq!(rule, expected);
            assert!(!reason.is_empty() && !hint.is_empty());
        }
    }

    #[test]
    fn new_tests_are_welcome_and_everyone_looks() {
        assert_eq!(rule(&ask("tester", "test", "write_file", "tests/new.py")), "testers-add-tests");
        assert!(allowed(&ask("developer", "build", "write_file", "tests/new.py")));
        for tool in LOOK {
            assert!(allowed(&ask("reviewer", "design", tool, "tests/old.py")));
        }
        assert!(allowed(&Policy.decide(&AccessQuery {
            role: "x".into(),
            phase: "y".into(),
            tool: "list".into(),
            args: json!({"path": "."})
        })));
    }

    #[test]
    fn a_write_without_a_classified_path_is_denied() {
        for args in [
            json!({}),
            json!({"path": "src/a.py"}),
            json!({"class": "plain"}),
            json!({"path": "a", "class": "odd"}),
            json!(null),
        ] {
            let decision = Policy.decide(&AccessQuery {
                role: "developer".into(),
                phase: "build".into(),
                tool: "write_file".into(),
                args,
            });
            assert!(!allowed(&decision));
        }
    }

    #[test]
    fn what_is_offered_depends_on_role_and_phase() {
        assert_eq!(
            Policy::offered("developer", "build"),
            ["list", "read", "search", "replace_function", "write_file", "run_tests", "exec"]
        );
        assert_eq!(Policy::offered("architect", "design"), LOOK);
    }

    proptest! {
        #[test]
        fn no_role_in_any_phase_writes_a_protected_path_however_it_is_spelt(
            role in prop_oneof![Just("developer"), Just("tester"), Just("writer"), Just("architect"), Just("reviewer")],
            phase in prop_oneof![Just("design"), Just("plan"), Just("build"), Just("test"), Just("docs"), Just("done")],
            tool in prop_oneof![Just("write_file"), Just("replace_function")],
            target in prop_oneof![Just("ci/x.md"), Just("Makefile"), Just("tests/old.py"), Just("a/test_old.py"), Just("sitecustomize.py"), Just(".git/config"), Just("docs/.cargo/config.toml")],
            dress in prop_oneof![Just("@"), Just("./@"), Just("/work/@"), Just("src/../@"), Just("a/b/../../@"), Just(".//@")],
        ) {
            let decision = ask(role, phase, tool, &dress.replace('@', target));
            prop_assert!(!allowed(&decision), "{decision:?}");
        }

        #[test]
        fn no_path_that_is_not_inside_is_ever_allowed(path in "(\\.\\./|/|\\./|a/|\\.git/){1,5}[a-z]{0,3}", tool in prop_oneof![Just("read"), Just("write_file"), Just("list")]) {
            let decision = ask("developer", "build", tool, &path);
            prop_assert!(!allowed(&decision) || normalize(&path).is_ok() || is_whole_tree(&path));
        }
    }
}
