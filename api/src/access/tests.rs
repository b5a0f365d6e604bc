#![allow(clippy::unwrap_used, clippy::expect_used)]

use fleet_runtime::auth::AccessLevel;
use fleet_runtime::{JournalOptions, NoSecrets, SqliteJournal};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn journal(dir: &std::path::Path) -> Arc<SqliteJournal> {
    Arc::new(SqliteJournal::open(dir, &JournalOptions::default()).unwrap().0)
}

/// Once whoever had it has let go of it.
async fn reopened(dir: &std::path::Path) -> Arc<SqliteJournal> {
    Arc::new(until(|| SqliteJournal::open(dir, &JournalOptions::default()).ok()).await.0)
}

fn access(journal: &Arc<SqliteJournal>) -> Access {
    let root = Principal { name: "root".into(), level: AccessLevel::Po };
    Access::start(journal.clone(), Arc::new(NoSecrets), vec![("the-node's-own".into(), root)])
}

fn root() -> Author {
    Author::Person("root".into())
}

fn person(name: &str, level: AccessLevel) -> Principal {
    Principal { name: name.into(), level }
}

/// Until that node has read the journal for the first time, or once more.
async fn until<T>(what: impl Fn() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(found) = what() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it didn't come to that")
}

#[tokio::test]
async fn what_one_node_issues_and_revokes_holds_on_another() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let (here, there) = (access(&journal), access(&journal));
    let wanted = person("olga", AccessLevel::Operator);
    let (token, issued) = here.issue(root(), wanted.clone(), None).await.unwrap();
    assert_eq!((issued.principal, issued.by), (wanted.clone(), root()));
    assert_eq!(here.recognise(&token).await.unwrap().who, wanted);
    let mut pass = {
        // It hears of it a moment later.
        let heard = async {
            loop {
                match there.recognise(&token).await {
                    Ok(pass) => return pass,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("it never heard of it")
    };
    assert_eq!(pass.who, wanted);

    here.revoke(root(), "olga").await.unwrap();
    assert!(here.recognise(&token).await.unwrap_err().to_string().contains("revoked"));
    tokio::time::timeout(PATIENCE, pass.over()).await.expect("a stream there would have gone on");
    assert!(there.recognise(&token).await.is_err());
}

#[tokio::test]
async fn tokens_outlive_a_restart_and_the_journal_never_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let token = {
        let journal = journal(dir.path());
        let access = access(&journal);
        let (token, _) = access.issue(root(), person("vera", AccessLevel::Viewer), None).await.unwrap();
        for event in journal.read_all(fleet_runtime::Position(0), 100).await.unwrap() {
            let text = serde_json::to_string(&event).unwrap();
            assert!(!text.contains(&token) && !text.contains(&token[PREFIX.len()..]), "{text}");
        }
        drop(access);
        token
    };
    let access = access(&reopened(dir.path()).await);
    let who = access.recognise(&token).await.unwrap().who;
    assert_eq!(who, person("vera", AccessLevel::Viewer));
}

#[tokio::test]
async fn a_token_runs_out_and_an_unknown_one_is_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let access = access(&journal(dir.path()));
    let (token, _) =
        access.issue(root(), person("vera", AccessLevel::Viewer), Some(Duration::from_millis(1))).await.unwrap();
    let over = async {
        loop {
            match access.recognise(&token).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(said) => return said,
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, over).await.expect("it never ran out");
    assert!(said.to_string().contains("expired"), "{said}");
    for unknown in ["", "fleet_", &token[..token.len() - 1], "the-node's-owm"] {
        assert!(access.recognise(unknown).await.is_err(), "{unknown}");
    }
    assert_eq!(access.recognise("the-node's-own").await.unwrap().who.name, "root");
}

#[tokio::test]
async fn nobody_is_given_the_name_of_the_nodes_owner() {
    let dir = tempfile::tempdir().unwrap();
    let refused = access(&journal(dir.path())).issue(root(), person("root", AccessLevel::Viewer), None).await;
    assert!(matches!(refused, Err(AccessError::Refused(Refused::Taken(_)))));
}

#[tokio::test]
async fn two_nodes_that_issue_at_the_same_time_both_do_and_never_twice_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let nodes = [access(&journal), access(&journal)];
    let issue = |node: &Access, n: usize| {
        let (node, name) = (node.clone(), format!("n{n}"));
        async move { node.issue(root(), person(&name, AccessLevel::Viewer), None).await.is_ok() }
    };
    for n in 0..20 {
        let (a, b) = tokio::join!(issue(&nodes[0], n), issue(&nodes[1], n));
        assert!(a != b, "both or neither got n{n}");
    }
    assert_eq!(nodes[0].list().await.unwrap().len(), 20);
}
