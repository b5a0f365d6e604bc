#![allow(clippy::unwrap_used)]
use fleet_inference::ModelFacts;

use super::*;
use crate::cli::model_bench::machine::Machine;
use crate::cli::model_bench::recommend::{Known, recommend};
use crate::cli::model_bench::samples;
use crate::cli::model_bench::which::Chosen;

fn report(name: &str) -> Report {
    let machine = Machine {
        processor: "Some CPU".into(),
        cores: 4,
        features: vec!["avx2".into()],
        instruction_set: "avx2".into(),
        memory: 16 << 30,
        memory_free: 12 << 30,
        system: "linux 6.1".into(),
        busy: 0.25,
    };
    let facts = ModelFacts {
        architecture: "llama".into(),
        parameters: 134_515_008,
        format: "Q4_1".into(),
        context: 8192,
        kv_bytes: samples::KV_BYTES,
    };
    let sha256 = "ab".repeat(32);
    let model =
        Chosen { name: name.to_owned(), path: "/m.gguf".into(), bytes: 98_362_432, sha256, facts, context: None };
    let known = Known { model: name.to_owned(), context: 4096, kv_bytes: samples::KV_BYTES, memory: 8 << 30 };
    let rows = samples::all();
    Report {
        version: "0.1.0".into(),
        command: format!("fleet model bench {name}"),
        date: "2025-01-01 00:00:00 UTC".into(),
        machine,
        model,
        context: 4096,
        took_s: 141.0,
        complete: true,
        recommendation: recommend(&known, &rows),
        rows,
    }
}

#[test]
fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let page = page(&report("tiny"));
    let lower = page.to_lowercase();
    for outside in
        ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "onload"]
    {
        assert!(!lower.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_name_is_text_wherever_it_stands() {
    let page = page(&report("<script>alert('x')</script>\" onload=\"y\u{1b}[2J"));
    assert!(!page.contains("<script") && !page.contains("\" onload=") && !page.contains('\u{1b}'));
    assert!(page.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;").count() >= 4);
}

#[test]
fn a_page_has_all_charts_and_says_what_was_measured_on_what() {
    let page = page(&report("tiny"));
    let figures = page.matches("<figure>").count();
    assert_eq!((figures, page.matches("</svg>").count()), (8, 8));
    for told in
        ["Some CPU", "avx2", "/m.gguf", &"ab".repeat(32), "2025-01-01", "fleet model bench tiny", "kv_memory = "]
    {
        assert!(page.contains(told), "{told}");
    }
    // As many rows as there were, under one head.
    assert_eq!(page.matches("<tr").count(), 1 + samples::all().len() + 1 + 7);
}

#[test]
fn figures_stand_in_the_table_as_people_read_them() {
    let rows = samples::all();
    let told = |n: usize| cells(&rows[n]).join(" | ");
    let (measured, left_out) = (told(0), told(rows.iter().position(|r| r.measured().is_none()).unwrap()));
    insta::assert_snapshot!(format!("{measured}\n{left_out}\n{}", told(rows.len() - 1)), @r"
    threads | 1 thread | 1 | 512 | 30.0 | 250 | 1.0 s | 1.5 s | 300 MiB | 12 MiB | 22.5 KiB | 0 | 
    load | 4 threads | 8 | 3072 | - | - | - | - | - | - | - | - | left out: takes 49.2 s
    load | 4 threads | 64 | 3072 | - | - | - | - | - | - | - | - | died: it was killed, probably for want of memory; 2 more not tried
    ");
}

#[test]
fn a_run_that_was_ended_early_says_so() {
    let early = Report { complete: false, rows: Vec::new(), recommendation: None, ..report("tiny") };
    let page = page(&early);
    assert!(page.contains("ended early") && page.contains("Too little was measured") && !page.contains("<figure>"));
}

#[test]
fn the_table_for_a_terminal_has_rows_reasons_and_the_setting() {
    let text = report("tiny").text();
    assert!(text.contains("STAGE") && text.contains("left out: takes 49.2 s") && text.contains("died: it was killed"));
    assert!(text.contains("BECAUSE") && text.ends_with("queue = 128\n"), "{text}");
}
