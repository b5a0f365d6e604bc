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

/// Keys of tables within tables, with dots between them.
fn leaves(of: &serde_json::Value, within: &str, all: &mut Vec<String>) {
    match of.as_object() {
        // Backoff is told in one line.
        Some(table) if !table.contains_key("factor") && !table.contains_key("initial") => {
            for (key, value) in table {
                leaves(value, &format!("{within}.{key}"), all);
            }
        }
        _ => all.push(within.trim_start_matches('.').to_owned()),
    }
}

#[test]
fn the_page_on_clusters_names_every_limit() {
    let page = include_str!("../../docs/cluster.md");
    let (default, mut keys) = (serde_json::to_value(Config::default().cluster.limits).unwrap(), Vec::new());
    leaves(&default, "", &mut keys);
    assert!(keys.len() > 30);
    for key in keys {
        assert!(page.contains(&format!("| `{key}` |")), "{key} isn't in docs/cluster.md");
    }
}

#[test]
fn a_gpu_worker_has_its_engines_on_its_gpu_and_room_for_nothing_else() {
    let text = "[cluster]\ncpus = 8.0\ncustom = { licences = 3.0 }\nlabels = { zone = \"a\" }\n\
                [[inference.engine]]\nname = \"a\"\n[[inference.engine]]\nname = \"b\"\ndevice = \"cpu\"\n\
                [[inference.engine]]\nname = \"c\"\n";
    let config = Config::parse(text, Path::new("cluster.toml")).unwrap();
    let worker = config.into_worker("GPU-1".into(), &["a".into(), "c".into()]);
    let engines = worker.inference.engines(false);
    let shown: Vec<_> =
        engines.iter().map(|e| (e.name.as_str(), String::from(e.device.clone()), e.gpu_sharers)).collect();
    assert_eq!(shown, [("a", "cuda:GPU-1".to_owned(), 2), ("c", "cuda:GPU-1".to_owned(), 2)]);
    let offers = worker.cluster.offers(std::iter::empty(), &[]);
    assert_eq!((offers.amounts.cpu_milli, offers.amounts.memory_bytes, offers.amounts.custom.len()), (0, 0, 0));
    assert_eq!(offers.labels["zone"], "a");
}

#[test]
fn an_unknown_key_is_placed_and_the_nearest_one_offered() {
    insta::assert_snapshot!(refused("[node]\nname = \"a\"\n\n[jobs]\nmax_runing = 2\n"), @r#"
    FLT-K002: cluster.toml:5:1: unknown key `max_runing` in [jobs]
      5 | max_runing = 2
        | ^^^^^^^^^^
      next: did you mean `max_running`? Keys here: max_running, max_restarts, cpus, memory
    "#);
}

#[test]
fn a_key_without_a_neighbour_is_answered_with_all_there_are() {
    insta::assert_snapshot!(refused("[jobs]\ncolour = 2\n"), @r#"
    FLT-K002: cluster.toml:2:1: unknown key `colour` in [jobs]
      2 | colour = 2
        | ^^^^^^
      next: remove it, or use one of: max_running, max_restarts, cpus, memory
    "#);
}

#[test]
fn a_value_of_the_wrong_kind_is_placed() {
    insta::assert_snapshot!(refused("[jobs]\nmax_running = \"two\"\n"), @r#"
    FLT-K002: cluster.toml:2:15: invalid type: string "two", expected usize
      2 | max_running = "two"
        |               ^^^^^
      next: give the key a value of that kind; the sample cluster.toml has every key with an example
    "#);
}

#[test]
fn broken_toml_is_placed() {
    insta::assert_snapshot!(refused("[node\nname = 1\n"), @r#"
    FLT-K002: cluster.toml:1:6: unclosed table, expected `]`
      1 | [node
        |      ^
      next: mend it here: a line is `key = value` or `[table]`, text stands in quotes, sizes are "8MiB", durations "500ms"
    "#);
}

#[test]
fn listening_to_the_world_is_refused_for_want_of_tls() {
    insta::assert_snapshot!(refused("[node]\nlisten = \"0.0.0.0:7400\"\n"), @r#"
    FLT-K003: cluster.toml: [node] listen = "0.0.0.0:7400" isn't a loopback address, and this release has no TLS
      next: listen on 127.0.0.1 or [::1]; from elsewhere, use an SSH tunnel to it
    "#);
}
