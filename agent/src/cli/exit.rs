//! How a verb ended, as the number that a script sees.

use std::io::Write as _;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::escape::escape_lines;
use crate::settings::SettingsErrors;

/// Shown at the end of `--help`; the contract with scripts.
pub(super) const HELP: &str = "\
Exit codes:
  0    done
  1    error: the agent refused, or something failed
  2    usage: the command line, or a setting, makes no sense
  3    no agent: none answers at the socket
  4    no: nothing matched, no quorum, `doctor` found something
  75   to be started again: the agent, after `restart`
  124  time is up: `wait`, `join`, `exec --timeout`, `restart --within`
  141  `wait` alone: the reader of its output has gone
`exec` ends with the code of its command, or with one of its own: see `heartsay exec --help`.";

/// The ways to end. Errors (1, 3) travel as errors, usage (2) is clap's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    /// It is done.
    Done,
    /// It failed, and the reason has been shown.
    Failed,
    /// The question has an answer, and it is no.
    No,
    /// There is no agent to ask, and the reason has been shown.
    NoAgent,
    /// Time is up.
    TimeUp,
    /// A code of its own: that of the daemon, from the same table, or that of the command of `exec`.
    Code(ExitCode),
}

/// The reader of our output has gone: no reason to say anything.
#[derive(Debug, thiserror::Error)]
#[error("the reader of our output has gone")]
pub(super) struct ReaderGone;

/// The code for `result`; an error is told on stderr first.
pub(super) fn code(result: anyhow::Result<Exit>) -> ExitCode {
    let error = match result {
        Ok(Exit::Done) => return ExitCode::SUCCESS,
        Ok(Exit::Failed) => return ExitCode::from(1),
        Ok(Exit::NoAgent) => return ExitCode::from(3),
        Ok(Exit::No) => return ExitCode::from(4),
        Ok(Exit::Code(code)) => return code,
        Ok(Exit::TimeUp) => return ExitCode::from(124),
        Err(error) if error.is::<ReaderGone>() => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    say(&format!("{error:#}"));
    if let Some(errors) = error.downcast_ref::<SettingsErrors>() {
        return ExitCode::from(errors.exit_code());
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. }) => ExitCode::from(3),
        Some(ClientError::Refused(_) | ClientError::Broken { .. }) | None => ExitCode::from(1),
    }
}

/// One remark on stderr, in the program's name.
pub(super) fn say(text: &str) {
    // Nothing can be said on a closed stderr.
    let _ = writeln!(anstream::stderr(), "heartsay: {}", escape_lines(text));
}
