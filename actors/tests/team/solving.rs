//! Stories that can be solved, and some that can't.

use fleet_actors::event::StoryEvent;
use fleet_actors::spec::Approve;
use fleet_inference::MockMode;
use fleet_runtime::job::JobState;

use crate::world::{RIGHT, Repository, STORY, Setup, WRONG, World, developers, entry, fenced, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_can_be_solved_ends_in_a_commit_that_the_client_imports() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut setup = Setup::new(developers(&fenced(RIGHT)));
    setup.options.council.wave = 4;
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", report.to_markdown());

    let commit = world.fetch(&repo, &job).await;
    let message = repo.git(&["log", "-1", "--format=%B", commit.as_str()]);
    for line in
        ["Total ignores quantities", &format!("Fleet-Job: {job}"), "Approved-by: policy:auto", "Fleet-Decision: "]
    {
        assert!(message.contains(line), "{line} is not in\n{message}");
    }
    assert_eq!(repo.git(&["diff", "--stat", "main", commit.as_str(), "--", "test_cart.py"]), "");
    assert!(repo.git(&["show", &format!("{commit}:cart.py")]).contains("price * quantity"));
    assert_eq!(repo.git(&["status", "--porcelain"]), "", "the user's own checkout was touched");

    assert!(report.mock() && report.to_markdown().contains("mock"));
    assert_eq!(
        report.decisions.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(),
        ["design", "plan", "ranking", "approval"]
    );
    // More than one agent was about the same function as the first, and wrote the same.
    assert!(report.attempts.iter().any(|a| a.same_as == Some(0)), "{}", report.to_markdown());
    assert_eq!(report.attempts[0].target, "cart.py:Cart.total");
    let executed = "1 of 1 failing and 1 of 1 passing tests execute it".to_owned();
    assert!(report.suspects[0].reasons.contains(&executed), "{:?}", report.suspects);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_patches_are_executed_once() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut setup = Setup::new(developers(&fenced(WRONG)));
    setup.options.council.wave = 4;
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    assert_eq!(world.ended(&job).await.state, JobState::Failed);
    let verdicts = world.story(&job).await.iter().filter(|e| matches!(e, StoryEvent::Verdict { .. })).count();
    // Each place of the council is about another function; only those about `total` could be replaced.
    assert_eq!(verdicts, 1, "{}", world.report(&job).await.to_markdown());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_programs_are_executed_once_however_they_are_laid_out() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let other = WRONG.replace("    return", "    # the sum\n    return").replace("quantity for", "quantity  for");
    let entries = [entry("attempt: 0", &fenced(WRONG)), entry("", &fenced(&other))];
    let mut setup = Setup::new(script(&entries.concat()));
    setup.options.council.wave = 4;
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    assert_eq!(world.ended(&job).await.state, JobState::Failed);
    let report = world.report(&job).await;
    let about_total: Vec<_> = report.attempts.iter().filter(|a| a.patch.is_some()).collect();
    assert!(about_total.len() > 1, "{}", report.to_markdown());
    assert!(about_total[1..].iter().all(|a| a.same_as == Some(0) && a.measured.is_some()), "{}", report.to_markdown());
    assert_ne!(about_total[0].patch.as_ref().unwrap().digest, about_total[1].patch.as_ref().unwrap().digest);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_first_is_repaired_with_what_the_run_said() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let entries =
        [entry("round: 0", &fenced(WRONG)), entry("round: 1; contains: 'AssertionError: 3 != 6'", &fenced(RIGHT))];
    let world = World::start(dir.path(), &Setup::new(script(&entries.concat()))).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", report.to_markdown());
    let winner = report.commit.unwrap().attempt;
    assert_eq!(report.attempts[winner as usize].repairs, Some(0));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_can_not_be_solved_fails_with_the_best_evidence_and_no_commit() {
    for mode in [MockMode::Poor, MockMode::Stubborn] {
        let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
        let setup = Setup { mode, ..Setup::new(developers(&fenced(RIGHT))) };
        let world = World::start(dir.path(), &setup).await;
        let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
        let record = world.ended(&job).await;
        let report = world.report(&job).await;
        let text = report.to_markdown();
        assert_eq!(record.state, JobState::Failed, "{mode:?}\n{text}");
        assert!(report.commit.is_none());
        assert!(report.outcome.summary.contains("no proposal passed"), "{text}");
        assert_eq!(report.attempts.len(), 4, "two waves of two\n{text}");
        world.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_look_around_with_tools_before_it_answers() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let looks = r#"{"tool": "read", "args": {"path": "cart.py"}}"#;
    let entries = [entry("", looks), entry("contains: 'read:'", &fenced(RIGHT))];
    let world = World::start(dir.path(), &Setup::new(script(&entries.concat()))).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", report.to_markdown());
    assert!(report.effects.iter().any(|e| e.what.contains("\"read\"")), "{}", report.to_markdown());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_repository_is_in_no_event_and_survives_the_edit() {
    // In two parts, so that these sources hold nothing that looks like a secret.
    let secret = &["ghp_", "Zk3vR8mQx2Lw9TbN4cJ7yH5dF1sG6aVpEuXo"].concat();
    let cart = format!(
        "class Cart:\n    def __init__(self):\n        self.items = []\n\n    def add(self, price, quantity=1):\n        self.items.append((price, quantity))\n\n    def total(self):\n        token = \"{secret}\"\n        return sum(price for price, quantity in self.items)\n"
    );
    let tests = "import unittest\nfrom cart import Cart\n\n\nclass CartTest(unittest.TestCase):\n    def test_total(self):\n        cart = Cart()\n        cart.add(2, 3)\n        self.assertEqual(cart.total(), 6)\n";
    let repo = Repository::with(&[("cart.py", &cart), ("test_cart.py", tests)]);
    // The key of the placeholder's tag is the world's own, so the test has to ask for it.
    let shown = crate::world::shown(&format!("        token = \"{secret}\""));
    assert!(!shown.contains(secret), "{shown}");
    let right = format!(
        "def total(self):\n    {}\n    return sum(price * quantity for price, quantity in self.items)\n",
        shown.trim()
    );
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), &Setup::new(developers(&fenced(&right)))).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", world.report(&job).await.to_markdown());
    let events = serde_json::to_string(&world.events(&job).await).unwrap();
    assert!(!events.contains(secret), "a secret was recorded");
    let commit = world.fetch(&repo, &job).await;
    let file = repo.git(&["show", &format!("{commit}:cart.py")]);
    assert!(file.contains(secret) && file.contains("price * quantity"), "{file}");
    world.shutdown().await;
}
