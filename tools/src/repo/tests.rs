#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::future::BoxFuture;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::run::Runner;
use crate::sandbox::{Clip, Run, RunResult, SandboxError};

/// Runs a command on the host with `/work` written out, for tests of what surrounds the sandbox.
pub(crate) struct OnHost;

impl Runner for OnHost {
    fn run(&self, run: Run) -> BoxFuture<'_, Result<RunResult, SandboxError>> {
        Box::pin(async move {
            let work = run.workspace.display().to_string();
            let scratch = run.scratch.as_ref().map(|s| s.display().to_string()).unwrap_or_default();
            let place = |text: &String| text.replace("/work", &work).replace("/scratch", &scratch);
            let mut command = tokio::process::Command::new(place(&run.argv[0]));
            command.args(run.argv[1..].iter().map(place)).current_dir(&run.workspace).kill_on_drop(true);
            command.envs(run.env.iter().map(|(name, value)| (name.clone(), place(value))));
            let output = command.output().await.unwrap();
            Ok(RunResult {
                exit: output.status.code(),
                stdout: Clip::whole(output.stdout),
                stderr: Clip::whole(output.stderr),
                tier: "host".to_owned(),
                ..RunResult::default()
            })
        })
    }

    fn owner(&self) -> Option<(u32, u32)> {
        None
    }

    fn adopt(&self, _: &Path) -> Result<(), SandboxError> {
        Ok(())
    }
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "a")
            .env(format!("GIT_{role}_EMAIL"), "a@b")
            .env(format!("GIT_{role}_DATE"), "1700000000 +0000");
    }
    let output = command.arg("-C").arg(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A user's checkout with one commit of these files.
pub(crate) fn checkout_of(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "-b", "main"]);
    for (path, text) in files {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    git(dir.path(), &["add", "-A", "-f"]);
    git(dir.path(), &["commit", "-q", "--allow-empty", "-m", "base"]);
    dir
}

pub(crate) struct Fixture {
    pub(crate) user: TempDir,
    pub(crate) node: TempDir,
    pub(crate) base: BaseRepo,
}

pub(crate) async fn fixture(user: TempDir) -> Fixture {
    let node = tempfile::tempdir().unwrap();
    let facts = client::inspect(user.path()).unwrap();
    let pack = node.path().join("pack");
    client::make_pack(&facts, &pack).unwrap();
    let base = BaseRepo::import(&pack, &facts.head, &node.path().join("job"), &Caps::default(), &OnHost).await.unwrap();
    Fixture { user, node, base }
}

impl Fixture {
    fn workspace(&self) -> Workspace {
        self.base.checkout(&self.node.path().join("ws"), None, None).unwrap()
    }
}

fn person() -> Person {
    Person { name: "Fleet".to_owned(), email: "fleet@localhost".to_owned() }
}

fn commit(base: &BaseRepo, patch: &[u8], key: &str) -> Result<CommitId, RepoError> {
    let trailers = [("Fleet-Job".to_owned(), key.to_owned())];
    base.commit(&Commit { patch, message: "Do it", trailers: &trailers, author: person(), date: 1_700_000_000, key })
}

#[tokio::test]
async fn a_change_travels_from_workspace_to_the_users_branch() {
    let f = fixture(checkout_of(&[("a.py", "x = 1\n"), ("d/b.txt", "b\n"), ("gone", "x")])).await;
    let ws = f.workspace();
    ws.write("a.py", b"x = 2\n").unwrap();
    ws.write("new/c.bin", &[0, 1, 2, 255]).unwrap();
    ws.remove("gone").unwrap();
    let patch = f.base.diff(&ws).unwrap();
    assert_eq!(patch.paths(), ["a.py", "gone", "new/c.bin"]);
    let id = commit(&f.base, &patch.bytes, "k3m9x2p7qa").unwrap();
    assert_eq!(commit(&f.base, &patch.bytes, "k3m9x2p7qa").unwrap(), id);
    assert!(matches!(commit(&f.base, b"", "k3m9x2p7qa"), Err(RepoError::KeyConflict { .. })));
    let bundle = f.node.path().join("result");
    std::fs::write(&bundle, f.base.bundle("k3m9x2p7qa").unwrap()).unwrap();
    let import = || client::import_result(f.user.path(), &bundle, f.base.commit_id(), "fleet/k3m9x2p7qa");
    assert_eq!(import().unwrap(), id);
    assert_eq!(import().unwrap(), id);
    assert_eq!(git(f.user.path(), &["show", "fleet/k3m9x2p7qa:a.py"]), "x = 2");
    let brought = client::brought(f.user.path(), f.base.commit_id(), &id).unwrap();
    assert_eq!(brought.patch, patch.bytes);
    assert!(brought.message.starts_with("Do it") && brought.message.contains("Fleet-Job: k3m9x2p7qa"));
    assert_eq!(client::resolve(f.user.path(), "fleet/k3m9x2p7qa").unwrap(), id);
    for wrong in ["nothing", "--all", ""] {
        let error = client::resolve(f.user.path(), wrong).unwrap_err();
        assert!(matches!(error, RepoError::NoSuchCommit { .. }), "{wrong}: {error}");
    }
    assert_eq!(
        git(f.user.path(), &["log", "-1", "--format=%an %(trailers)", "fleet/k3m9x2p7qa"]),
        "Fleet Fleet-Job: k3m9x2p7qa"
    );
    assert_eq!(git(f.user.path(), &["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(f.user.path().join("a.py")).unwrap(), "x = 1\n");
}

#[tokio::test]
async fn an_existing_branch_never_moves() {
    let f = fixture(checkout_of(&[("a", "1")])).await;
    let ws = f.workspace();
    ws.write("a", b"2").unwrap();
    commit(&f.base, &f.base.diff(&ws).unwrap().bytes, "job").unwrap();
    let bundle = f.node.path().join("result");
    std::fs::write(&bundle, f.base.bundle("job").unwrap()).unwrap();
    git(f.user.path(), &["branch", "fleet/job"]);
    let result = client::import_result(f.user.path(), &bundle, f.base.commit_id(), "fleet/job");
    assert!(matches!(result, Err(RepoError::BranchExists { .. })), "{result:?}");
    let result = client::import_result(f.user.path(), &bundle, f.base.commit_id(), "other");
    assert!(matches!(result, Err(RepoError::BadBundle(_))), "{result:?}");
    let stranger = checkout_of(&[("z", "z")]);
    let result = client::import_result(stranger.path(), &bundle, f.base.commit_id(), "fleet/job");
    assert!(matches!(result, Err(RepoError::NotDescended { .. })), "{result:?}");
}

#[tokio::test]
async fn an_import_is_done_once_and_opened_after() {
    let f = fixture(checkout_of(&[("a", "1")])).await;
    let dir = f.node.path().join("job");
    assert!(BaseRepo::open(&dir, f.base.commit_id(), &Caps::default()).unwrap().is_some());
    let again =
        BaseRepo::import(Path::new("/nonexistent"), f.base.commit_id(), &dir, &Caps::default(), &OnHost).await.unwrap();
    assert_eq!(again.read("a").unwrap().unwrap(), b"1");
    assert_eq!(again.read("b").unwrap(), None);
}

#[tokio::test]
async fn bundles_that_are_too_large_or_damaged_are_refused() {
    let user = checkout_of(&[("a", "1"), ("b", "2")]);
    let facts = client::inspect(user.path()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("pack");
    client::make_pack(&facts, &pack).unwrap();
    let import = async |caps: Caps, pack: PathBuf, n: u8| {
        BaseRepo::import(&pack, &facts.head, &dir.path().join(format!("{n}")), &caps, &OnHost).await
    };
    for (n, caps) in [
        Caps { pack_bytes: 10, ..Caps::default() },
        Caps { objects: 2, ..Caps::default() },
        Caps { files: 1, ..Caps::default() },
        Caps { tree_bytes: 1, ..Caps::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let result = import(caps, pack.clone(), u8::try_from(n).unwrap()).await;
        assert!(matches!(result, Err(RepoError::TooLarge { .. })), "{result:?}");
    }
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 0x40;
    let broken = dir.path().join("broken");
    std::fs::write(&broken, bytes).unwrap();
    let result = import(Caps::default(), broken, 9).await;
    assert!(matches!(result, Err(RepoError::BadBundle(_))), "{result:?}");
}

#[tokio::test]
async fn links_out_of_the_tree_are_inert_and_new_ones_are_left_out() {
    let user = checkout_of(&[("a", "1")]);
    std::os::unix::fs::symlink("/etc/passwd", user.path().join("out")).unwrap();
    std::os::unix::fs::symlink("a", user.path().join("in")).unwrap();
    git(user.path(), &["add", "-A"]);
    git(user.path(), &["commit", "-q", "-m", "links"]);
    let f = fixture(user).await;
    let ws = f.workspace();
    assert_eq!(std::fs::read_to_string(ws.root().join("out")).unwrap(), "/etc/passwd");
    assert!(!ws.root().join("out").is_symlink() && ws.root().join("in").is_symlink());
    assert!(f.base.diff(&ws).unwrap().is_empty());
    std::os::unix::fs::symlink("../../x", ws.root().join("evil")).unwrap();
    std::os::unix::fs::symlink("a", ws.root().join("good")).unwrap();
    let patch = f.base.diff(&ws).unwrap();
    assert_eq!(patch.paths(), ["good"]);
    assert_eq!(patch.left_out[0].0, "evil");
    f.base.apply(&patch.bytes).unwrap();
    let evil = b"diff --git a/e b/e\nnew file mode 120000\n--- /dev/null\n+++ b/e\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n";
    assert!(matches!(f.base.apply(evil), Err(RepoError::UnsafePath { .. })));
}

#[tokio::test]
async fn a_patch_cannot_reach_git_or_leave_the_tree() {
    let f = fixture(checkout_of(&[("a", "1")])).await;
    for path in ["../x", ".git/config", "/etc/x", ".GIT/config"] {
        let patch = format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
        );
        assert!(f.base.apply(patch.as_bytes()).is_err(), "{path}");
    }
    assert!(matches!(f.base.apply(b"--- a/zz\n+++ b/zz\n@@ -1 +1 @@\n-q\n+r\n"), Err(RepoError::DoesNotApply(_))));
}

#[tokio::test]
async fn build_output_and_ignored_files_stay_out_of_the_patch() {
    let f = fixture(checkout_of(&[
        (".gitignore", "*.log\n/out/\n"),
        ("sub/.gitignore", "!keep.log\n"),
        ("a", "1"),
        ("node_modules/kept.js", "1"),
    ]))
    .await;
    let ws = f.workspace();
    for path in [
        "x.log",
        "out/y",
        "__pycache__/a.pyc",
        "target/debug/x",
        "node_modules/kept.js",
        "sub/keep.log",
        "new.txt",
        ".git/config",
    ] {
        let file = ws.root().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "new").unwrap();
    }
    std::fs::write(ws.root().join(".gitignore"), "").unwrap();
    assert_eq!(f.base.diff(&ws).unwrap().paths(), [".gitignore", "new.txt", "node_modules/kept.js", "sub/keep.log"]);
}

#[tokio::test]
async fn attributes_of_the_tree_change_neither_files_nor_patches() {
    let f = fixture(checkout_of(&[
        (".gitattributes", "* text eol=crlf filter=evil diff=evil\n*.txt -diff ident\n"),
        ("a.txt", "one\n$Id$\n"),
    ]))
    .await;
    let ws = f.workspace();
    assert_eq!(ws.read("a.txt").unwrap().unwrap(), b"one\n$Id$\n");
    ws.write("a.txt", b"two\r\n").unwrap();
    let patch = f.base.diff(&ws).unwrap();
    let again = f.base.checkout(&f.node.path().join("two"), Some(&patch.bytes), None).unwrap();
    assert_eq!(again.read("a.txt").unwrap().unwrap(), b"two\r\n");
}

#[tokio::test]
async fn a_workspace_that_started_from_a_patch_is_compared_with_the_base() {
    let f = fixture(checkout_of(&[("a", "1\n"), ("b", "1\n")])).await;
    let ws = f.workspace();
    ws.write("a", b"2\n").unwrap();
    let first = f.base.diff(&ws).unwrap();
    let ws = f.base.checkout(&f.node.path().join("two"), Some(&first.bytes), None).unwrap();
    assert_eq!(f.base.diff(&ws).unwrap(), first);
    ws.write("b", b"2\n").unwrap();
    assert_eq!(f.base.diff(&ws).unwrap().paths(), ["a", "b"]);
}

#[test]
fn a_checkout_that_cannot_be_used_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let inspect = |path: &Path| client::inspect(path);
    assert!(matches!(inspect(&dir.path().join("no")), Err(RepoError::NoSuchPath(_))));
    assert!(matches!(inspect(dir.path()), Err(RepoError::NotARepository(_))));
    git(dir.path(), &["init", "-q"]);
    assert!(matches!(inspect(dir.path()), Err(RepoError::Empty(_))));
    let user = checkout_of(&[("a", "1")]);
    git(user.path(), &["commit", "-q", "--allow-empty", "-m", "two"]);
    let bare = dir.path().join("bare");
    git(dir.path(), &["clone", "-q", "--bare", user.path().to_str().unwrap(), bare.to_str().unwrap()]);
    assert!(matches!(inspect(&bare), Err(RepoError::Bare(_))));
    let url = format!("file://{}", user.path().display());
    git(dir.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let error = inspect(&dir.path().join("shallow")).unwrap_err();
    assert!(error.to_string().contains("git fetch --unshallow"), "{error}");
}

#[test]
fn a_dirty_checkout_is_said_to_be_so_and_its_filters_are_not_run() {
    let user = checkout_of(&[("a", "1"), (".gitattributes", "* filter=evil\n")]);
    let facts = client::inspect(user.path()).unwrap();
    assert_eq!((facts.dirty, facts.untracked, facts.branch.as_deref()), (false, 0, Some("main")));
    let canary = user.path().join(".git/canary");
    for name in ["filter.evil.clean", "core.fsmonitor", "diff.external"] {
        git(user.path(), &["config", name, &format!("touch {}; cat", canary.display())]);
    }
    std::fs::write(user.path().join("a"), "2").unwrap();
    std::fs::write(user.path().join("new"), "2").unwrap();
    let facts = client::inspect(user.path()).unwrap();
    assert_eq!((facts.dirty, facts.untracked), (true, 1));
    assert!(!canary.exists());
}

fn files() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    let path = "(a|b|dir/c|dir/d|dir/deep/e|new [a-z]{1,3}|ü\"'[.]txt)";
    let content = prop_oneof![
        Just(None),
        "([a-z]{0,5}(\n|\r\n|)){0,6}".prop_map(|text: String| Some(text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(Some),
    ];
    proptest::collection::vec((path.prop_map(|p: String| p), content), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// What an agent leaves in a workspace is what a fresh checkout with its patch holds, byte by byte.
    #[test]
    fn a_patch_makes_the_same_files_again(edits in files()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let f = runtime.block_on(fixture(checkout_of(&[("a", "one\ntwo\n"), ("b", "no end"), ("dir/c", "\0\u{1}bin"), ("dir/d", "")])));
        let ws = f.workspace();
        for (path, content) in &edits {
            match content {
                Some(content) => ws.write(path, content).unwrap(),
                None => ws.remove(path).unwrap_or(()),
            }
        }
        let patch = f.base.diff(&ws).unwrap();
        let again = f.base.checkout(&f.node.path().join("two"), Some(&patch.bytes), None).unwrap();
        let all = |ws: &Workspace| ws.files(100).unwrap().into_iter().map(|(path, _)| { let c = ws.read(&path).unwrap(); (path, c) }).collect::<Vec<_>>();
        prop_assert_eq!(all(&again), all(&ws));
        prop_assert_eq!(f.base.diff(&again).unwrap().bytes, patch.bytes);
    }
}
