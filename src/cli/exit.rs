//! The exit codes of `fleet`: every way a command can end maps to one of these.
//! Scripts rely on them, so a code never changes its meaning.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a followed job: it ended in a verified commit.
    Ok = 0,
    /// The job ended, but not in a verified commit: it failed or was stopped.
    JobFailed = 1,
    /// Bad input: an argument, a story, a repository.
    BadInput = 2,
    /// No node answers at that address, or it went away and didn't come back.
    Unreachable = 3,
    /// The token is missing, unreadable, or not the node's.
    Unauthorised = 4,
    /// There is no such thing, or its state doesn't allow this.
    NotFoundOrConflict = 5,
    /// The job goes on without this command: detached, timed out, or it waits for a person.
    StillGoing = 6,
    /// A check found something wrong: `model verify`, `sandbox doctor`.
    CheckFailed = 7,
    /// A fault of Fleet or of the machine.
    Internal = 10,
}

impl Exit {
    /// Every code with its meaning, as `fleet --help` shows them.
    pub const HELP: &'static str = "\
Exit codes:
   0  done; for a followed job: it ended in a verified commit
   1  the job ended without a verified commit (failed or stopped)
   2  bad input: an argument, a story, a repository
   3  no node answers at --server
   4  the token is missing, unreadable or not the node's
   5  no such job or approval, or its state doesn't allow this
   6  the job goes on without this command: detached, timed out, or it waits for a person
   7  a check found something wrong (model verify, sandbox doctor)
  10  a fault of Fleet or of the machine";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn every_code_is_documented_in_the_help() {
        let all = [
            Exit::Ok,
            Exit::JobFailed,
            Exit::BadInput,
            Exit::Unreachable,
            Exit::Unauthorised,
            Exit::NotFoundOrConflict,
            Exit::StillGoing,
            Exit::CheckFailed,
            Exit::Internal,
        ];
        for exit in all {
            let line = format!("\n{:>4}  ", exit as u8);
            assert!(Exit::HELP.contains(&line), "{exit:?} isn't in the help");
        }
    }
}
