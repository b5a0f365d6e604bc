//! Port: what an agent may see of a file, and how an edit of what it saw becomes an edit of the file.

use fleet_runtime::ProjectId;

/// Keeps secrets out of what agents see, and in the files that they edit.
pub trait EditGuard: Send + Sync + 'static {
    /// The text as an agent sees it: secrets replaced by placeholders.
    fn show(&self, project: &ProjectId, text: &str) -> String;

    /// The text to write: `after` is an edit of `before` (both as seen), with the originals put back.
    /// An edit that adds, drops or alters a placeholder is refused; the message is for the agent.
    fn put_back(&self, project: &ProjectId, before: &str, after: &str) -> Result<String, String>;
}

/// Shows everything and changes nothing; for tests and for text that is known to be without secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShowAll;

impl EditGuard for ShowAll {
    fn show(&self, _: &ProjectId, text: &str) -> String {
        text.to_owned()
    }

    fn put_back(&self, _: &ProjectId, _: &str, after: &str) -> Result<String, String> {
        Ok(after.to_owned())
    }
}
