//! Whether a file system takes what is written to it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::aside::Aside;
use super::probe::Found;

/// Writes in one directory.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    writing: Aside<io::Result<()>>,
}

impl Disk {
    /// Of a directory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), writing: Aside::new() }
    }

    /// Writes a file that has no name, so that none is left behind, and has it brought to the disk.
    pub(super) async fn look(&mut self) -> Found {
        let dir = self.dir.clone();
        match self.writing.run(move || write(&dir)).await {
            Ok(Ok(())) => Found::passing("written"),
            Ok(Err(error)) => Found::critical(format!("cannot write: {}", without_path(&error))),
            Err(error) => Found::critical(format!("cannot write: {error}")),
        }
    }
}

fn write(dir: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(dir)?;
    file.write_all(&[b'.'; BLOCK])?;
    file.sync_all()
}

/// The path that the library puts behind it is another at each try, and a change of the text each time.
fn without_path(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number).to_string(),
        None => error.kind().to_string(),
    }
}

/// Of most file systems.
const BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::services::Health;

    #[tokio::test]
    async fn a_directory_takes_a_file_and_keeps_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(dir.path());
        assert_eq!(disk.look().await, Found::passing("written"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut absent = Disk::new(&dir.path().join("absent"));
        let found = absent.look().await;
        assert_eq!(found.health, Health::Critical);
        assert!(!found.text.contains("absent"), "{}", found.text);
    }
}
