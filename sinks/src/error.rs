//! What can go wrong in a sink, by who must act.

use std::path::{Path, PathBuf};

/// The error of all sinks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; disk, permissions or network need a look, then a restart resumes.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The target is not one this sink may write to or read; the operator must name another.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The target.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file does not hold what its manifest says; the target must be made anew from the topics.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller broke the contract of [`Sink`](crate::Sink): a defect in the engine, never bad input.
    #[error("contract of the sink broken: {0}")]
    Contract(String),
    /// The log does not take what is appended; its own variants say who must act.
    #[error(transparent)]
    Log(#[from] lsie_schemas::log::LogError),
    /// A server is away, or does not answer in time; what it lacks is sent again when it is back.
    #[error("{0}")]
    Unavailable(String),
    /// A database refuses: rights, its own tables, or a constraint; someone must look at it.
    #[error("PostgreSQL: {0}")]
    Database(String),
    /// The server could not start or stop.
    #[error("server: {0}")]
    Serve(std::io::Error),
}

impl Error {
    /// A closure that adds the path to an I/O error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }

    /// A refusal of a target.
    pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> Error {
        Error::Refused { path: path.to_owned(), reason: reason.into() }
    }

    /// Damage of a file.
    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> Error {
        Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}
