//! Lists in sentences, the same in the agent and on the command line: a line is read, not a long list.

/// `a, b, c`, or from the fourth on `a, b, c and 4 more`.
pub(crate) fn few<S: AsRef<str>>(all: &[S]) -> String {
    first(all, FEW)
}

/// The same with the first `most` of them.
pub(crate) fn first<S: AsRef<str>>(all: &[S], most: usize) -> String {
    let first: Vec<&str> = all.iter().take(most).map(AsRef::as_ref).collect();
    match all.len().saturating_sub(most) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Told one by one where there may be many.
pub(crate) const FEW: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_three_are_told() {
        assert_eq!(few(&["a", "b", "c"]), "a, b, c");
        assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
