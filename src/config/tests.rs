#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("cluster.toml")).unwrap_err().to_string()
}

#[test]
fn the_sample_is_read_and_means_the_defaults() {
    let sample = include_str!("../../cluster.toml");
    let read = Config::parse(sample, Path::new("cluster.toml")).unwrap();
    let shown = |config: &Config| serde_json::to_value(config).unwrap();
    assert_eq!(shown(&read), shown(&Config::default()));
}

#[test]
fn the_sample_names_every_key() {
    let sample = include_str!("../../cluster.toml");
    let default = serde_json::to_value(Config::default()).unwrap();
    let tables = default.as_object().unwrap();
    for (table, keys) in tables {
        assert!(sample.contains(&format!("[{table}]")), "[{table}] isn't in cluster.toml");
        for key in keys.as_object().unwrap().keys().filter(|key| *key != "engine") {
            assert!(
                sample.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} ="))),
                "[{table}] {key} isn't in cluster.toml"
            );
        }
    }
}

#[test]
fn an_unknown_key_is_placed_and_the_nearest_one_offered() {
    insta::assert_snapshot!(refused("[node]\nname = \"a\"\n\n[jobs]\nmax_runing = 2\n"), @r"
    ");
}

#[test]
fn a_key_without_a_neighbour_is_answered_with_all_there_are() {
    insta::assert_snapshot!(refused("[jobs]\ncolour = 2\n"), @r"
    ");
}

#[test]
fn a_value_of_the_wrong_kind_is_placed() {
    insta::assert_snapshot!(refused("[jobs]\nmax_running = \"two\"\n"), @r"
    ");
}

#[test]
fn broken_toml_is_placed() {
    insta::assert_snapshot!(refused("[node\nname = 1\n"), @r"
    ");
}

#[test]
fn listening_to_the_world_is_refused_for_want_of_tls() {
    insta::assert_snapshot!(refused("[node]\nlisten = \"0.0.0.0:7400\"\n"), @r"
    ");
}
