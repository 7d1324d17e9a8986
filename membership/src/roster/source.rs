//! The name of a source outside the cluster that says that a member is gone: a hypervisor, a cloud, a BMC.

use core::fmt;

/// What a source is called: `libvirt`, `ec2`, `bmc`.
///
/// 1 to [`MAX_BYTES`](Self::MAX_BYTES) ASCII letters, digits, `-`, `_` or `.`, so that it is safe wherever it is printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source([u8; Self::MAX_BYTES]);

impl Source {
    /// Longest name, in bytes: it travels with each accusation that rests on it.
    pub const MAX_BYTES: usize = 16;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// Empty, longer than [`Self::MAX_BYTES`], or with another character.
    pub fn new(name: &str) -> Result<Self, SourceError> {
        let refused = || SourceError(name.to_owned());
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(safe) {
            return Err(refused());
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..name.len()).ok_or_else(refused)?.copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_BYTES);
        self.0.get(..length).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Why a text does not name a source. The caller's or a peer's fault; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a source: use 1 to {most} letters, digits, '-', '_' or '.'", most = Source::MAX_BYTES)]
pub struct SourceError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_short_name_that_is_safe_to_print() {
        for name in ["a", "libvirt", "ec2-eu.west_1", "sixteen-letters-"] {
            assert_eq!(Source::new(name).unwrap().as_str(), name);
        }
        for name in ["", "seventeen-letters", "a b", "a\u{1b}[2J", "é", "a\0"] {
            assert_eq!(Source::new(name), Err(SourceError(name.to_owned())));
        }
    }
}
