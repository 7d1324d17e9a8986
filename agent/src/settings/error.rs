//! What is wrong with the settings, where it was given, and what to do.

use std::fmt;

use super::Origin;

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsError {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) problem: String,
    pub(super) remedy: String,
    /// It makes no sense, and trying again does not help. Else it may pass by itself, as what is not mounted yet.
    pub(super) usage: bool,
}

impl SettingsError {
    /// Something that no agent could make sense of.
    pub(crate) fn usage(key: &str, origin: Origin, problem: String, remedy: &str) -> Self {
        Self { key: key.to_owned(), origin, problem, remedy: remedy.to_owned(), usage: true }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.origin) {
            (key, origin) if key.is_empty() => write!(f, "{origin}: {}", self.problem)?,
            (key, Origin::Default) => write!(f, "{key}: {}", self.problem)?,
            (key, Origin::File(..)) => write!(f, "{}: {key}: {}", self.origin, self.problem)?,
            (_, origin) => write!(f, "{origin}: {}", self.problem)?,
        }
        write!(f, "; {}", self.remedy)
    }
}

/// All that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct SettingsErrors(pub(super) Vec<SettingsError>);

impl SettingsErrors {
    /// 2 for what makes no sense; 1 when all that is wrong may pass by itself.
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        if self.0.iter().any(|e| e.usage) { 2 } else { 1 }
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
