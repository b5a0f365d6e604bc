//! `fleet bench`: stories that are measured whole, gone on with, and made from somebody's own repository.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Place, Ran, entries, fixture, git};

const SMALL: &[&str] = &["--seeds", "2", "--pool", "6", "--draws", "100", "--out", "out"];

impl Place {
    fn bench(&self, more: &[&str]) -> Ran {
        let stories = fixture("stories");
        self.run(&[&["bench", "stories", stories.to_str().unwrap()][..], SMALL, more].concat())
    }

    fn out(&self, name: &str) -> PathBuf {
        self.path().join("out").join(name)
    }

    fn results(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.out("results.json")).unwrap()).unwrap()
    }

    fn jobs(&self) -> usize {
        let listed = self.run(&["job", "list", "-o", "json"]);
        serde_json::from_str::<Vec<Value>>(&listed.stdout).unwrap().len()
    }
}

/// The scripts answer with a function, whatever form they are asked for.
fn scripted(script: &str) -> Place {
    let place = Place::new(script);
    place.configure(script, "[agent]\nfile_tokens = 0\n");
    place
}

fn arm<'a>(of: &'a Value, name: &str) -> &'a Value {
    of["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == name).unwrap()
}

#[test]
fn stories_are_measured_and_a_run_goes_on_where_it_was() {
    let place = scripted("stories/script.yaml");
    let node = place.start();

    let ran = place.bench(&["-o", "page.html"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("MOCK") && ran.stdout.contains("best-of-n"), "{ran:?}");
    let first = fs::read(place.out("results.json")).unwrap();
    check_results(&place.results());
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("</html>") && page.contains("is a mock") && page.matches("<figure>").count() >= 6);
    assert_eq!(page, fs::read_to_string(place.out("report.html")).unwrap());

    // A job whose record was lost is come back to; nothing is asked twice.
    let jobs = place.jobs();
    assert_eq!(jobs, 8);
    fs::remove_file(place.out("cells/clamp/fleet-1.json")).unwrap();
    fs::remove_file(place.out("results.json")).unwrap();
    let again = place.bench(&[]);
    assert_eq!((again.code, place.jobs()), (Some(0), jobs), "{again:?}");
    assert_eq!(fs::read(place.out("results.json")).unwrap(), first);

    let other = place.bench(&["--budget-tokens", "100"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    let told = "budget_tokens was 32000 and is 100 now";
    assert!(other.stderr.contains(told) && other.stderr.contains("--out"), "{}", other.stderr);

    // What is whole needs no node.
    node.kill();
    let alone = place.bench(&["-o", "json"]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert_eq!(serde_json::from_str::<Value>(&alone.stdout).unwrap(), place.results());
    assert_eq!(fs::read(place.out("results.json")).unwrap(), first);
}

fn check_results(results: &Value) {
    let settings = &results["settings"];
    assert_eq!((&settings["pool"], &settings["mock"]), (&Value::from(6), &Value::Bool(true)));
    assert_eq!(results["missing"], Value::Array(Vec::new()));
    assert_eq!(results["records"].as_array().unwrap().len(), 8);
    let story = |name: &str| results["stories"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap();

    // Of each seed's three proposals the first one satisfies the visible tests alone.
    let clamp = story("clamp");
    assert_eq!((&clamp["pool"], &clamp["passing"], &clamp["right"]), (&6.into(), &6.into(), &4.into()), "{clamp}");
    assert_eq!((&clamp["programs"], &clamp["localised"]), (&2.into(), &1.into()));
    let single = &arm(clamp, "single")["mean"];
    let near = |value: &Value, should: f64| (value.as_f64().unwrap() - should).abs() < 1e-6;
    assert!(near(&single["right"], 4.0 / 6.0) && near(&single["false_success"], 2.0 / 6.0), "{single}");
    assert!(near(&arm(clamp, "majority")["mean"]["right"], 1.0));
    let fleet = &arm(clamp, "fleet")["mean"];
    assert!(near(&fleet["declared"], 1.0) && fleet["tokens_out"].as_f64().unwrap() > 0.0, "{fleet}");

    let clamped = story("clamped");
    for name in ["single", "majority", "best-of-n", "fleet"] {
        let mean = &arm(clamped, name)["mean"];
        assert!(near(&mean["right"], 1.0) && near(&mean["declared"], 0.0), "{name}: {mean}");
    }
    let summary = &results["summary"];
    assert_eq!((&summary["stories"], &summary["solvable"]), (&2.into(), &1.into()));
    assert!(arm(summary, "single")["right"]["interval"].is_array(), "{summary}");
    assert_eq!(summary["harm"]["touched_commits"], 0);
    let last = summary["coverage"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["n"], last["value"].as_f64()), (&6.into(), Some(1.0)));
}

#[test]
fn an_interrupted_run_is_gone_on_with() {
    let place = scripted("stories/slow.yaml");
    let mut node = place.start();
    let stories = fixture("stories");
    let args = [&["bench", "stories", stories.to_str().unwrap(), "--stories", "clamp"][..], SMALL].concat();
    let mut command = place.fleet(&args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    node.wait_until(|| !entries(&place.out("cells/clamp")).is_empty());
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(6), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!place.results()["missing"].as_array().unwrap().is_empty());

    let ran = place.run(&args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!((place.jobs(), place.results()["records"].as_array().unwrap().len()), (4, 4));
}

#[test]
fn a_repository_of_ones_own_becomes_a_story() {
    let place = scripted("stories/script.yaml");
    let (repo, story) = (place.repo(), place.story());
    let hidden = fixture("stories/clamp/hidden/tests");
    let mended = fs::read_to_string(repo.join("ranges.py")).unwrap().replacen(
        "return low\n    return",
        "return high\n    return",
        1,
    );
    fs::write(repo.join("ranges.py"), mended).unwrap();
    git(&repo, &["diff", "--output", place.path().join("reference.patch").to_str().unwrap()]);
    git(&repo, &["checkout", "-q", "ranges.py"]);
    let import = |more: &[&str]| {
        let (repo, story) = (repo.to_str().unwrap(), story.to_str().unwrap());
        place.run(&[&["bench", "import", repo, "--story", story, "--into", "mine"][..], more].concat())
    };

    let whole =
        ["--as", "ranges", "--hidden-tests", hidden.to_str().unwrap(), "--reference", "reference.patch", "-o", "json"];
    let ran = import(&whole);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let made: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(made["places"], Value::from(vec!["ranges.py::clamp"]));
    assert_eq!(made["base"], git(&repo, &["rev-parse", "HEAD"]));
    let failing = fs::read_to_string(place.path().join("mine/ranges/hidden/failing-test")).unwrap();
    assert!(failing.lines().count() == 1 && failing.contains("test_a_large_value_is_lowered"), "{failing}");

    for (more, told) in [
        (&["--as", "ranges"][..], "is there already"),
        (&["--as", "first", "--commit", "HEAD~1"][..], "test"),
        (&["--as", "none", "--commit", "nowhere"][..], "no commit \"nowhere\""),
        (&["--as", "done", "--kind", "solved"][..], "isn't solved"),
        (&["--as", "empty", "--hidden-tests", "out"][..], "has no tests"),
        (&["--as", "odd", "--reference", "cluster.toml"][..], "doesn't apply"),
    ] {
        let refused = import(more);
        assert_eq!(refused.code, Some(2), "{more:?}: {refused:?}");
        assert!(refused.stderr.contains(told), "{more:?}: {}", refused.stderr);
    }
    let names: Vec<PathBuf> = entries(&place.path().join("mine"));
    assert_eq!(names.len(), 1, "what was refused left something behind: {names:?}");

    let _node = place.start();
    let ran =
        place.run(&["bench", "stories", "mine", "--seeds", "1", "--pool", "2", "--arms", "single", "--out", "out"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let story = &place.results()["stories"][0];
    assert_eq!(
        (&story["name"], &story["passing"], &story["right"]),
        (&"ranges".into(), &2.into(), &1.into()),
        "{story}"
    );
}
