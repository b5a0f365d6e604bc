//! The commit that a job ends with, made once: which commit belongs to which key is kept in a ref of Fleet's own.

use serde::{Deserialize, Serialize};

use super::git::{Git, Input};
use super::id::check_key;
use super::{BaseRepo, CommitId, RepoError, bundle};

/// Who a commit names as its author or committer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Full name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// A commit to be made.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// What it changes.
    pub patch: &'a [u8],
    /// What it says, as written by whoever: what looks like a trailer in it is taken out.
    pub message: &'a str,
    /// What Fleet says of it, as name and value.
    pub trailers: &'a [(String, String)],
    /// Author and committer.
    pub author: Person,
    /// Seconds since 1970, UTC. Given by the caller, so that the same commit has the same id when it is made again.
    pub date: i64,
    /// What it belongs to, usually the job's id. One key has one commit.
    pub key: &'a str,
}

impl BaseRepo {
    /// Makes the commit of exactly base plus patch; when the key has one of that content already, gives that.
    pub fn commit(&self, commit: &Commit<'_>) -> Result<CommitId, RepoError> {
        check_key(commit.key)?;
        let tree = self.apply(commit.patch)?;
        if let Some(existing) = self.committed(commit.key)? {
            let of = self.inner.git.line(&["rev-parse", "--verify", &format!("{existing}^{{tree}}")])?;
            return if of == tree.as_str() { Ok(existing) } else { Err(conflict(commit.key, &existing)) };
        }
        let message = message(commit.message, commit.trailers);
        let args = ["commit-tree", tree.as_str(), "-p", self.inner.commit.as_str(), "-F", "-"];
        let made = signed(&self.inner.git, commit).run_with(&args, Input::Bytes(message.as_bytes()))?;
        let made: CommitId = String::from_utf8_lossy(&made).trim().parse()?;
        // Only if the ref doesn't exist: of two writers one wins, and the other finds its commit.
        let none = "0".repeat(40);
        let set =
            self.inner.git.attempt(&["update-ref", &own_ref(commit.key), made.as_str(), &none], Input::Nothing)?;
        match (set.code, self.committed(commit.key)?) {
            (Some(0), _) => Ok(made),
            (_, Some(existing)) if existing == made => Ok(made),
            (_, Some(existing)) => Err(conflict(commit.key, &existing)),
            (_, None) => Err(RepoError::Git { command: "update-ref".to_owned(), detail: set.stderr }),
        }
    }

    /// The commit of a key, if it has been made.
    pub fn committed(&self, key: &str) -> Result<Option<CommitId>, RepoError> {
        check_key(key)?;
        let found = self.inner.git.attempt(&["rev-parse", "--verify", "--quiet", &own_ref(key)], Input::Nothing)?;
        if found.code != Some(0) {
            return Ok(None);
        }
        String::from_utf8_lossy(&found.stdout).trim().parse().map(Some)
    }

    /// A bundle of the key's commit without the base, under `refs/heads/fleet/<key>`.
    pub fn bundle(&self, key: &str) -> Result<Vec<u8>, RepoError> {
        let missing = || RepoError::BadName { what: "key without a commit", value: key.to_owned() };
        let tip = self.committed(key)?.ok_or_else(missing)?;
        let mut bytes = Vec::new();
        bundle::write(&self.inner.git, &tip, &format!("refs/heads/fleet/{key}"), Some(&self.inner.commit), &mut bytes)?;
        Ok(bytes)
    }
}

fn own_ref(key: &str) -> String {
    format!("refs/fleet/{key}")
}

fn conflict(key: &str, existing: &CommitId) -> RepoError {
    RepoError::KeyConflict { key: key.to_owned(), existing: existing.to_string() }
}

fn signed(git: &Git, commit: &Commit<'_>) -> Git {
    let (name, email) = (plain(&commit.author.name), plain(&commit.author.email));
    let date = format!("{} +0000", commit.date.max(0));
    ["AUTHOR", "COMMITTER"].iter().fold(git.clone(), |git, role| {
        git.env(&format!("GIT_{role}_NAME"), &name)
            .env(&format!("GIT_{role}_EMAIL"), &email)
            .env(&format!("GIT_{role}_DATE"), &date)
    })
}

fn plain(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(100).collect();
    if clean.trim().is_empty() { "fleet".to_owned() } else { clean.trim().to_owned() }
}

/// Subject and body without anything that reads like a trailer, then Fleet's trailers.
fn message(text: &str, trailers: &[(String, String)]) -> String {
    let kept = text.lines().map(clean_line).filter(|line| !looks_like_trailer(line)).collect::<Vec<_>>();
    let body = kept.join("\n");
    let body = match body.trim() {
        "" => "Change by Fleet",
        body => body,
    };
    let trailers: String =
        trailers.iter().map(|(name, value)| format!("{}: {}\n", name, clean_line(value).trim())).collect();
    format!("{body}\n\n{trailers}")
}

fn clean_line(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').take(400).collect()
}

/// `Some-Name: value`, however it is spaced or written. A sentence with a colon has a space before it, and is kept,
/// unless it begins like one of Fleet's or of the customary ones.
fn looks_like_trailer(line: &str) -> bool {
    let line: String = line.chars().map(|c| if c.is_ascii() { c.to_ascii_lowercase() } else { '-' }).collect();
    let line = line.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let Some((name, _)) = line.split_once(':') else {
        return line.starts_with("(cherry picked from");
    };
    let name = name.trim_end();
    let one_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let known = [
        "fleet",
        "signed",
        "co-authored",
        "co-developed",
        "reviewed",
        "acked",
        "tested",
        "approved",
        "change-id",
        "reported",
        "suggested",
        "fixes",
    ];
    (one_word && name.contains('-')) || known.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_reads_like_a_trailer_is_taken_out_and_fleets_own_are_written() {
        let text = "Fix the sum\n\nNote: it was off by one.\nFleet-Job: forged\nfleet‑job: forged\n  FLEET-JOB : forged\nSigned-off-by: Eve <e@x>\nReviewed by: Eve\n> Fleet-Approved-By: eve";
        let made = message(text, &[("Fleet-Job".to_owned(), "abc\nFleet-Evil: 1".to_owned())]);
        assert_eq!(made, "Fix the sum\n\nNote: it was off by one.\n\nFleet-Job: abcFleet-Evil: 1\n");
    }

    #[test]
    fn an_empty_message_still_makes_a_commit_message() {
        assert_eq!(message("Fleet-Job: x", &[]), "Change by Fleet\n\n");
    }
}
