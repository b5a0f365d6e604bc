//! Paths of a tree, and the globs that protect some of them.
//!
//! Every path that comes from a model, a patch or a bundle passes [`normalize`] before anything is done with it.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Longest path that is handled.
pub const PATH_MAX: usize = 1024;

/// Where a workspace lies for the commands that run in it; models tend to use it.
const MOUNT: &str = "/work/";

/// Files that change how tests are run or found without being tests: no proposal may add or alter one.
const RUNNER_OVERRIDES: &[&str] = &[
    "sitecustomize.py",
    "usercustomize.py",
    "unittest.py",
    "unittest/**",
    ".cargo/**",
    "**/.cargo/**",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".git/**",
    "**/.git/**",
];

/// Brings a path given by a model into the one form in which paths are compared: relative, `/` between plain names.
pub fn normalize(path: &str) -> Result<String, &'static str> {
    let path = path.strip_prefix(MOUNT).unwrap_or(path);
    if path.starts_with('/') {
        return Err("it is absolute; give it relative to the workspace");
    }
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or("it leads out of the workspace")?;
            }
            name => names.push(name),
        }
    }
    let clean = names.join("/");
    if clean.is_empty() {
        return Err("it names no file");
    }
    check(&clean)?;
    Ok(clean)
}

/// Whether a path of a tree is one that Fleet writes out: plain names only, none of them git's own.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.len() > PATH_MAX {
        return Err("it is too long");
    }
    for name in path.split('/') {
        match name {
            "" | "." | ".." => return Err("it isn't a plain relative path"),
            name if name.len() > 255 => return Err("a name in it is too long"),
            name if is_git_name(name) => return Err("it reaches into git's own files"),
            name if name.contains(|c: char| c.is_control()) => {
                return Err("it has control characters");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names that some file system or git itself takes for `.git`.
fn is_git_name(name: &str) -> bool {
    // HFS+ ignores some code points, NTFS knows a short name; a repository may be checked out there later.
    let bare: String = name.chars().filter(|c| !is_ignorable(*c)).collect();
    let bare = bare.trim_end_matches(['.', ' ']);
    bare.eq_ignore_ascii_case(".git") || bare.eq_ignore_ascii_case("git~1")
}

fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// True if the link's target, taken by its letters, stays inside the tree.
pub(crate) fn link_stays_inside(link: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') {
        return false;
    }
    let mut depth = link.split('/').count() - 1;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            name if is_git_name(name) => return false,
            _ => depth += 1,
        }
    }
    true
}

/// What a path is, as far as changing it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathClass {
    /// May be changed.
    Plain,
    /// A test file: new ones are welcome, existing ones mustn't be touched.
    Test,
    /// Mustn't be touched, nor added.
    Protected,
}

/// The globs of a story, compiled.
///
/// A glob without `/` matches a name in any directory; one that names a directory means all below it; `*` doesn't
/// cross `/`, `**` does.
#[derive(Debug, Clone)]
pub struct PathRules {
    protected: GlobSet,
    tests: GlobSet,
}

impl PathRules {
    /// Compiles the globs; the message names the one that isn't well-formed.
    pub fn compile(protected: &[String], tests: &[String]) -> Result<Self, String> {
        let overrides = RUNNER_OVERRIDES.iter().map(|glob| (*glob).to_owned());
        let protected: Vec<String> = protected.iter().cloned().chain(overrides).collect();
        Ok(Self { protected: compile(&protected)?, tests: compile(tests)? })
    }

    /// What a path is; anything that isn't in the form of [`normalize`] counts as protected.
    pub fn class(&self, path: &str) -> PathClass {
        if check(path).is_err() || self.protected.is_match(path) {
            PathClass::Protected
        } else if self.tests.is_match(path) {
            PathClass::Test
        } else {
            PathClass::Plain
        }
    }

    /// Whether changing the path is forbidden, given whether the base has it.
    pub fn forbids(&self, path: &str, in_base: bool) -> bool {
        match self.class(path) {
            PathClass::Plain => false,
            PathClass::Test => in_base,
            PathClass::Protected => true,
        }
    }
}

fn compile(globs: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        for form in forms(glob) {
            let glob = GlobBuilder::new(&form).literal_separator(true).build();
            set.add(glob.map_err(|error| format!("{:?} isn't a glob: {}", form, error.kind()))?);
        }
    }
    set.build().map_err(|error| error.to_string())
}

fn forms(glob: &str) -> Vec<String> {
    let glob = glob.trim_start_matches("./").trim_start_matches('/');
    let directory = glob.trim_end_matches('/');
    let mut forms = vec![directory.to_owned(), format!("{directory}/**")];
    if !directory.contains('/') {
        forms.push(format!("**/{directory}"));
        forms.push(format!("**/{directory}/**"));
    }
    forms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn rules(protected: &[&str], tests: &[&str]) -> PathRules {
        let own = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        PathRules::compile(&own(protected), &own(tests)).unwrap()
    }

    #[test]
    fn the_ways_to_write_a_path_come_to_one() {
        for path in ["src/a.py", "./src/a.py", "src//a.py", "src/x/../a.py", "/work/src/a.py"] {
            assert_eq!(normalize(path).unwrap(), "src/a.py");
        }
    }

    #[test]
    fn paths_that_lead_out_or_into_git_are_refused() {
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            ".git/config",
            "a/.GIT/hooks/x",
            ".g\u{200c}it/config",
            "",
            "a\0b",
            "git~1/x",
        ] {
            assert!(normalize(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn links_are_judged_by_where_they_lead() {
        assert!(link_stays_inside("a/b", "../c"));
        assert!(link_stays_inside("b", "c/d"));
        for target in ["/etc/passwd", "../../x", "..", "c/../../x", "", "../.git/config"] {
            assert!(!link_stays_inside("b", target), "{target:?}");
        }
    }

    #[test]
    fn a_glob_protects_what_it_names() {
        let rules = rules(&["docs/", "Cargo.toml", "ci/*.yml"], &["tests/**", "test_*.py"]);
        for path in ["docs/a/b.md", "Cargo.toml", "sub/Cargo.toml", "ci/x.yml", "sitecustomize.py"] {
            assert_eq!(rules.class(path), PathClass::Protected, "{path}");
        }
        for path in ["tests/a.py", "tests/a/b.py", "test_x.py", "pkg/test_x.py"] {
            assert_eq!(rules.class(path), PathClass::Test, "{path}");
        }
        for path in ["src/docs.py", "ci/a/x.yml", "src/a.py"] {
            assert_eq!(rules.class(path), PathClass::Plain, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_is_normal_and_inside(path in "[a-z./ ]{0,30}") {
            if let Ok(clean) = normalize(&path) {
                prop_assert_eq!(normalize(&clean), Ok(clean.clone()));
                prop_assert!(check(&clean).is_ok());
                prop_assert!(!clean.split('/').any(|name| name == ".."));
            }
        }
    }
}
